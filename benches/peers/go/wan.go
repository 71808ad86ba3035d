package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
)

type count struct {
	Bytes int64 `json:"bytes"`
}

// wan is the far end of one connection, whose near end is the harness: it does on each stream what the first byte on it asks for, as
// benches/wan/linux/serve.rs does. It says where it listens, and then answers each `count` with the bytes of bulk that have
// arrived, until `end`.
func wan(h *harness, lib library) (any, error) {
	listener, err := net.Listen("tcp4", ":0")
	if err != nil {
		return nil, err
	}
	defer listener.Close()
	if err := h.say(listening{listener.Addr().String()}); err != nil {
		return nil, err
	}
	conn, err := listener.Accept()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := noDelay(conn); err != nil {
		return nil, err
	}
	// The library makes both ends of a connection; the client here has nobody to talk to.
	idle, nobody := net.Pipe()
	defer nobody.Close()
	go io.Copy(io.Discard, nobody)
	client, server, err := lib(idle, conn, 0)
	if err != nil {
		return nil, err
	}
	defer client.close()
	defer server.close()

	var received atomic.Int64
	failed := make(chan error, 1)
	go func() {
		for {
			s, err := server.accept()
			if err != nil {
				return
			}
			go func() {
				if err := serveKind(s, &received); err != nil {
					select {
					case failed <- err:
					default:
					}
				}
			}()
		}
	}()
	for {
		words, ok := h.next()
		if !ok || len(words) == 1 && words[0] == "end" {
			return count{received.Load()}, nil
		}
		if len(words) != 1 || words[0] != "count" {
			return nil, errors.New("wan must be followed by count or end")
		}
		select {
		case err := <-failed:
			return nil, err
		default:
		}
		if err := h.say(count{received.Load()}); err != nil {
			return nil, err
		}
	}
}

// serveKind does what a stream is for until it ends.
func serveKind(s stream, received *atomic.Int64) error {
	reader := bufio.NewReaderSize(s, readSize)
	kind, err := reader.ReadByte()
	if err != nil {
		return err
	}
	switch kind {
	case 'e':
		message := make([]byte, pingSize)
		for {
			if _, err := io.ReadFull(reader, message); err != nil {
				return err
			}
			if _, err := s.Write(message); err != nil {
				return err
			}
		}
	case 's':
		return sinkBulk(reader, received)
	case 'f':
		chunk := make([]byte, bulkWrites)
		for i := range chunk {
			chunk[i] = byte(i)
		}
		for index := uint64(0); ; index++ {
			binary.LittleEndian.PutUint64(chunk, index)
			if _, err := s.Write(chunk); err != nil {
				return err
			}
		}
	}
	return fmt.Errorf("no kind of stream: %d", kind)
}

// sinkBulk reads and checks the number at the front of each write.
func sinkBulk(reader *bufio.Reader, received *atomic.Int64) error {
	chunk := make([]byte, bulkWrites)
	for index := uint64(0); ; index++ {
		for at := 0; at < len(chunk); {
			n, err := reader.Read(chunk[at:])
			received.Add(int64(n))
			if err != nil {
				return err
			}
			at += n
		}
		if got := binary.LittleEndian.Uint64(chunk); got != index {
			return fmt.Errorf("write %d where %d was to come", got, index)
		}
	}
}
