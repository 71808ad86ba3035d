package main

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"
)

// openClose uses one stream after the other, each for two bytes and their echo.
func openClose(lib library, count int) (any, error) {
	return withPair(lib, 0, func(p *pair) (any, error) {
		p.serve(func() error {
			for range count {
				s, err := p.server.accept()
				if err != nil {
					return err
				}
				p.serve(func() error { return echoAll(s) })
			}
			return nil
		})
		start := time.Now()
		for i := range count {
			if err := useOnce(p.client, i); err != nil {
				return nil, fmt.Errorf("stream %d: %w", i, err)
			}
		}
		took := time.Since(start)
		return elapsed{took.Seconds()}, p.count(0)
	})
}

// useOnce reads until the end although it has closed before: a half-close, in both libraries.
func useOnce(client session, i int) error {
	s, err := client.open()
	if err != nil {
		return err
	}
	sent := [2]byte{byte(i), byte(i >> 8)}
	if _, err := s.Write(sent[:]); err != nil {
		return err
	}
	if err := s.CloseWrite(); err != nil {
		return err
	}
	var got [2]byte
	if _, err := io.ReadFull(s, got[:]); err != nil {
		return err
	}
	if got != sent {
		return fmt.Errorf("%v came back for %v", got, sent)
	}
	return expectEOF(s)
}

// echoAll reads two bytes and the end, and sends them back.
func echoAll(s stream) error {
	var got [2]byte
	if _, err := io.ReadFull(s, got[:]); err != nil {
		return err
	}
	if err := expectEOF(s); err != nil {
		return err
	}
	if _, err := s.Write(got[:]); err != nil {
		return err
	}
	return s.Close()
}

// So many streams may be opened ahead of the answers: enough for neither end to wait for the other all the time, and below
// the 256 not yet acknowledged at which an implementation may refuse, or not open, one more.
const ahead = 128

// held is many streams of a connection, with the handles of both ends. A handle is no larger than an interface, and the
// space for all is there before the first one is opened.
type held struct {
	client, server []stream
}

func newHeld(streams int) *held {
	return &held{client: make([]stream, 0, streams), server: make([]stream, 0, streams)}
}

// open opens all that there is space for and has one byte go both ways on each. One goroutine serves them, and is gone
// when this returns.
func (h *held) open(p *pair) error {
	streams := cap(h.client)
	accepted := make(chan struct{})
	p.serve(func() error {
		defer close(accepted)
		var b [1]byte
		for range streams {
			s, err := p.server.accept()
			if err != nil {
				return err
			}
			if _, err := io.ReadFull(s, b[:]); err != nil {
				return err
			}
			if _, err := s.Write(b[:]); err != nil {
				return err
			}
			h.server = append(h.server, s)
		}
		return nil
	})
	var b [1]byte
	answered := 0
	answer := func() error {
		if _, err := io.ReadFull(h.client[answered], b[:]); err != nil {
			return err
		}
		if b[0] != byte(answered) {
			return fmt.Errorf("stream %d got the byte of another", answered)
		}
		answered++
		return nil
	}
	for i := range streams {
		if i-answered == ahead {
			if err := answer(); err != nil {
				return err
			}
		}
		s, err := p.client.open()
		if err != nil {
			return err
		}
		b[0] = byte(i)
		if _, err := s.Write(b[:]); err != nil {
			return err
		}
		h.client = append(h.client, s)
	}
	for answered < streams {
		if err := answer(); err != nil {
			return err
		}
	}
	<-accepted
	return p.count(streams)
}

// close closes all of them, at both ends at the same time, and waits until neither session knows one any more.
func (h *held) close(p *pair) error {
	p.serve(func() error { return closeAll(h.server) })
	if err := closeAll(h.client); err != nil {
		return err
	}
	return p.count(0)
}

func closeAll(streams []stream) error {
	for _, s := range streams {
		if err := s.Close(); err != nil {
			return err
		}
	}
	return nil
}

// openMany opens so many streams, holds them and closes them.
func openMany(lib library, streams int) (any, error) {
	return withPair(lib, streams, func(p *pair) (any, error) {
		h := newHeld(streams)
		start := time.Now()
		if err := h.open(p); err != nil {
			return nil, err
		}
		if err := h.close(p); err != nil {
			return nil, err
		}
		return elapsed{time.Since(start).Seconds()}, nil
	})
}

type memory struct {
	HeapPerStream  float64 `json:"heap_per_stream"`
	StackPerStream float64 `json:"stack_per_stream"`
}

// idle measures what a stream costs that nothing happens on; both its ends, for both are in this process.
func idle(lib library, streams int) (any, error) {
	if streams == 0 {
		return nil, errors.New("no stream has no memory")
	}
	return withPair(lib, streams, func(p *pair) (any, error) {
		h := newHeld(streams)
		goroutines := runtime.NumGoroutine()
		heap, stack := inUse()
		if err := h.open(p); err != nil {
			return nil, err
		}
		// One that waits for the acknowledgement of a stream may still be about to end. If a library kept some, they would
		// be part of what its streams cost, and stay in what is measured.
		settle(goroutines)
		heapHeld, stackHeld := inUse()
		answer := memory{
			HeapPerStream:  float64(heapHeld-heap) / float64(streams),
			StackPerStream: float64(stackHeld-stack) / float64(streams),
		}
		// This also keeps the handles alive until here.
		return answer, h.close(p)
	})
}

// inUse returns the bytes of the heap and of stacks. The second collection frees what the first one only took out of
// the pools of buffers.
func inUse() (heap, stack int64) {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc), int64(stats.StackInuse)
}
