package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"
)

// The receiver reads into a buffer of this size, however much is written at a time.
const readSize = 64 << 10

type transferred struct {
	Seconds    float64 `json:"seconds"`
	CPUSeconds float64 `json:"cpu_seconds"`
}

// transfer moves bytes over one stream, in writes of the given size.
func transfer(lib library, write, bytes int) (any, error) {
	if err := checkSizes(write, bytes); err != nil {
		return nil, err
	}
	return withPair(lib, 0, func(p *pair) (any, error) {
		p.serve(func() error {
			s, err := p.server.accept()
			if err != nil {
				return err
			}
			_, err = receive(s, write, bytes)
			return err
		})
		s, err := p.client.open()
		if err != nil {
			return nil, err
		}
		buf := patterned(write)
		cpu, err := cpuTime()
		if err != nil {
			return nil, err
		}
		start := time.Now()
		if err := send(s, buf, bytes); err != nil {
			return nil, err
		}
		if err := awaitDone(s); err != nil {
			return nil, err
		}
		took := time.Since(start)
		after, err := cpuTime()
		if err != nil {
			return nil, err
		}
		if err := expectEOF(s); err != nil {
			return nil, err
		}
		return transferred{took.Seconds(), (after - cpu).Seconds()}, p.count(0)
	})
}

func checkSizes(write, bytes int) error {
	if write < 8 || bytes < write || bytes%write != 0 {
		return errors.New("the bytes must be some writes of at least 8 bytes")
	}
	return nil
}

// patterned returns the buffer of the writes. Its first 8 bytes are for the index of a write.
func patterned(write int) []byte {
	buf := make([]byte, write)
	for i := range buf {
		buf[i] = byte(i)
	}
	return buf
}

// send makes the writes and ends the stream.
func send(s stream, buf []byte, bytes int) error {
	for i := range bytes / len(buf) {
		binary.LittleEndian.PutUint64(buf, uint64(i))
		n, err := s.Write(buf)
		if err == nil && n != len(buf) {
			err = io.ErrShortWrite
		}
		if err != nil {
			return fmt.Errorf("write %d: %w", i, err)
		}
	}
	return s.CloseWrite()
}

// receive reads what send has written, checks it, and answers that it is done. It returns when it had the last byte.
func receive(s stream, write, bytes int) (time.Time, error) {
	buf := make([]byte, readSize)
	var last time.Time
	total := 0
	for {
		n, err := s.Read(buf)
		if n > 0 {
			if err := checkRead(buf[:n], total, write); err != nil {
				return last, err
			}
			total += n
			if total == bytes {
				last = time.Now()
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return last, err
		}
	}
	if total != bytes {
		return last, fmt.Errorf("%d bytes came, not %d", total, bytes)
	}
	if _, err := s.Write([]byte("done")); err != nil {
		return last, err
	}
	return last, s.Close()
}

// checkRead checks what one read got, at the given offset in the stream: the index of every write whose first 8 bytes are
// all there, and the pattern at both ends. That finds bytes lost, doubled or out of order, and costs next to nothing; to
// look at every byte would cost more than moving it.
func checkRead(got []byte, offset, write int) error {
	for _, i := range [2]int{0, len(got) - 1} {
		if at := (offset + i) % write; at >= 8 && got[i] != byte(at) {
			return fmt.Errorf("byte %d of the stream is wrong", offset+i)
		}
	}
	index := (offset + write - 1) / write
	for i := index*write - offset; i+8 <= len(got); i += write {
		if found := binary.LittleEndian.Uint64(got[i:]); found != uint64(index) {
			return fmt.Errorf("write %d stands where %d should", found, index)
		}
		index++
	}
	return nil
}

// awaitDone reads the answer of receive.
func awaitDone(s stream) error {
	var answer [4]byte
	if _, err := io.ReadFull(s, answer[:]); err != nil {
		return err
	}
	if string(answer[:]) != "done" {
		return fmt.Errorf("the answer is %q", answer)
	}
	return nil
}

// cpuTime is what the process has used in user and system mode.
func cpuTime() (time.Duration, error) {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0, err
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()), nil
}
