package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"time"
)

const (
	pingSize   = 64
	warmUps    = 100
	bulkWrites = 64 << 10
)

type latencies struct {
	P50       int64 `json:"p50_ns"`
	P99       int64 `json:"p99_ns"`
	BulkBytes int64 `json:"bulk_bytes"`
	Total     int64 `json:"total_ns"`
}

// bulk is the stream beside the one that is measured.
type bulk struct {
	stop           atomic.Bool
	sent, received atomic.Int64
	// ended is closed when the server has read it to its end.
	ended chan struct{}
}

// send writes without pause until it is told to stop.
func (b *bulk) send(s stream) error {
	buf := make([]byte, bulkWrites)
	for !b.stop.Load() {
		n, err := s.Write(buf)
		b.sent.Add(int64(n))
		if err != nil {
			return err
		}
	}
	return s.CloseWrite()
}

// discard reads it and counts.
func (b *bulk) discard(s stream) error {
	defer close(b.ended)
	buf := make([]byte, readSize)
	for {
		n, err := s.Read(buf)
		b.received.Add(int64(n))
		if err == io.EOF {
			return s.Close()
		}
		if err != nil {
			return err
		}
	}
}

// latency clocks ping-pongs on one stream, with or without bulk on another stream of the connection.
func latency(lib library, withBulk, count int) (any, error) {
	if withBulk > 1 || count == 0 {
		return nil, errors.New("latency takes 0 or 1, and a count")
	}
	return withPair(lib, 0, func(p *pair) (any, error) {
		b := bulk{ended: make(chan struct{})}
		p.serve(func() error {
			// Streams are accepted in the order in which they were opened.
			first, err := p.server.accept()
			if err != nil {
				return err
			}
			p.serve(func() error { return b.discard(first) })
			second, err := p.server.accept()
			if err != nil {
				return err
			}
			return pong(second, warmUps+count)
		})
		first, err := p.client.open()
		if err != nil {
			return nil, err
		}
		second, err := p.client.open()
		if err != nil {
			return nil, err
		}
		sender := make(chan error, 1)
		if withBulk == 0 {
			b.stop.Store(true)
		}
		go func() { sender <- b.send(first) }()

		took, moved, err := ping(second, count, &b)
		b.stop.Store(true)
		if err != nil {
			// With the connection closed the sender does not wait for a window.
			p.fail(err)
		}
		if err := errors.Join(err, <-sender); err != nil {
			return nil, err
		}
		<-b.ended
		if sent, received := b.sent.Load(), b.received.Load(); sent != received {
			return nil, fmt.Errorf("%d bytes of bulk came of %d", received, sent)
		}
		if withBulk == 1 && moved == 0 {
			return nil, errors.New("there was no bulk beside the pings")
		}
		var total time.Duration
		for _, one := range took {
			total += one
		}
		slices.Sort(took)
		return latencies{int64(took[count/2]), int64(took[count*99/100]), moved, int64(total)}, nil
	})
}

// ping makes the round trips, and returns how long each of the clocked ones took and how much bulk came meanwhile.
func ping(s stream, count int, b *bulk) ([]time.Duration, int64, error) {
	message, expected, got := patterned(pingSize), patterned(pingSize), make([]byte, pingSize)
	took := make([]time.Duration, 0, count)
	var before int64
	for i := range uint64(warmUps + count) {
		if i == warmUps {
			before = b.received.Load()
		}
		stamp(message, 0, i)
		stamp(expected, 0, i|isResponse)
		start := time.Now()
		if _, err := s.Write(message); err != nil {
			return nil, 0, err
		}
		if _, err := io.ReadFull(s, got); err != nil {
			return nil, 0, err
		}
		if i >= warmUps {
			took = append(took, time.Since(start))
		}
		if !bytes.Equal(got, expected) {
			return nil, 0, fmt.Errorf("pong %d is wrong", i)
		}
	}
	moved := b.received.Load() - before
	if err := s.CloseWrite(); err != nil {
		return nil, 0, err
	}
	return took, moved, expectEOF(s)
}

// pong answers the pings.
func pong(s stream, count int) error {
	expected, got := patterned(pingSize), make([]byte, pingSize)
	for i := range uint64(count) {
		if _, err := io.ReadFull(s, got); err != nil {
			return err
		}
		stamp(expected, 0, i)
		if !bytes.Equal(got, expected) {
			return fmt.Errorf("ping %d is wrong", i)
		}
		stamp(got, 0, i|isResponse)
		if _, err := s.Write(got); err != nil {
			return err
		}
	}
	if err := expectEOF(s); err != nil {
		return err
	}
	return s.Close()
}
