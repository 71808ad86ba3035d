package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

const messageSize = 1 << 10

// A message begins with the number of its stream, and its place on that stream; the highest bit of the latter tells the
// answer from the request, so that a message which comes back by mistake is not taken for an answer.
const isResponse = 1 << 63

func stamp(message []byte, number, sequence uint64) {
	binary.LittleEndian.PutUint64(message, number)
	binary.LittleEndian.PutUint64(message[8:], sequence)
}

func checkMessage(message []byte, number, sequence uint64) error {
	n, s := binary.LittleEndian.Uint64(message), binary.LittleEndian.Uint64(message[8:])
	last := len(message) - 1
	if n != number || s != sequence || message[16] != 16 || message[last] != byte(last) {
		return fmt.Errorf("message %d/%#x came instead of %d/%#x, or its pattern is wrong", n, s, number, sequence)
	}
	return nil
}

// exchange sends a request and waits for its response.
func exchange(s stream, message []byte, number, sequence uint64) error {
	stamp(message, number, sequence)
	if _, err := s.Write(message); err != nil {
		return err
	}
	if _, err := io.ReadFull(s, message); err != nil {
		return err
	}
	return checkMessage(message, number, sequence|isResponse)
}

// respond answers the given number of requests, until the stream ends.
func respond(s stream, requests int) error {
	message := make([]byte, messageSize)
	var number uint64
	for i := range uint64(requests) {
		if _, err := io.ReadFull(s, message); err != nil {
			return err
		}
		if i == 0 {
			number = binary.LittleEndian.Uint64(message)
		}
		if err := checkMessage(message, number, i); err != nil {
			return err
		}
		stamp(message, number, i|isResponse)
		if _, err := s.Write(message); err != nil {
			return err
		}
	}
	if err := expectEOF(s); err != nil {
		return err
	}
	return s.Close()
}

// requestResponse has the requests made over so many streams at a time.
func requestResponse(lib library, streams, requests int) (any, error) {
	if streams == 0 || requests == 0 || requests%streams != 0 {
		return nil, errors.New("every stream must get as many requests")
	}
	each := requests / streams
	return withPair(lib, streams, func(p *pair) (any, error) {
		p.serve(func() error {
			for range streams {
				s, err := p.server.accept()
				if err != nil {
					return err
				}
				p.serve(func() error { return respond(s, 1+each) })
			}
			return nil
		})

		opened := make([]stream, streams)
		var warm, done sync.WaitGroup
		warm.Add(streams)
		done.Add(streams)
		begin := make(chan struct{})
		for number := range opened {
			s, err := p.client.open()
			if err != nil {
				// Those that are there already must not wait for ever.
				close(begin)
				return nil, err
			}
			opened[number] = s
			go func() {
				defer done.Done()
				message := patterned(messageSize)
				// The first exchange is not on the clock; after it the stream is known to both ends, and the goroutine runs.
				err := exchange(s, message, uint64(number), 0)
				warm.Done()
				<-begin
				for i := uint64(1); err == nil && i <= uint64(each); i++ {
					err = exchange(s, message, uint64(number), i)
				}
				if err != nil {
					p.fail(err)
				}
			}()
		}
		warm.Wait()
		start := time.Now()
		close(begin)
		done.Wait()
		took := time.Since(start)
		for _, s := range opened {
			if err := s.CloseWrite(); err != nil {
				return nil, err
			}
		}
		for _, s := range opened {
			if err := expectEOF(s); err != nil {
				return nil, err
			}
		}
		return elapsed{took.Seconds()}, p.count(0)
	})
}
