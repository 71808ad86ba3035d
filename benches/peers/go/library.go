package main

import (
	"context"
	"errors"
	"io"
	"net"
	"time"

	hashicorp "github.com/hashicorp/yamux"
	goyamux "github.com/libp2p/go-yamux/v5"
)

// library makes a session on each end of a connection, by default as the library itself configures it. If need is not 0,
// the server has to hold so many incoming streams at a time.
type library func(client, server net.Conn, need int) (session, session, error)

var libraries = map[string]library{
	"go-yamux":  goYamux,
	"hashicorp": hashicorpYamux,
}

// session is what the workloads use of the session of either library.
type session interface {
	open() (stream, error)
	accept() (stream, error)
	// ready returns when a ping of this end has been answered, so that it knows the time of a round trip if it uses that.
	ready() error
	streams() int
	close() error
}

// stream is what the workloads use of a stream of either library.
type stream interface {
	io.ReadWriter
	// CloseWrite ends what this end sends; reading goes on.
	CloseWrite() error
	// Close ends what this end sends, and says that it reads no more where the library can say so.
	Close() error
}

type goYamuxSession struct{ *goyamux.Session }

func goYamux(client, server net.Conn, need int) (session, session, error) {
	config := goyamux.DefaultConfig()
	config.LogOutput = io.Discard
	// 1000 by default, and a stream beyond is reset. The backlog of streams not yet accepted stays at its default of 256:
	// the opening end waits in OpenStream as long as so many are not acknowledged.
	config.MaxIncomingStreams = max(config.MaxIncomingStreams, uint32(need))
	// Without a memory manager nothing limits the windows but MaxStreamWindowSize.
	c, err := goyamux.Client(client, config, nil)
	if err != nil {
		return nil, nil, err
	}
	s, err := goyamux.Server(server, config, nil)
	if err != nil {
		c.Close()
		return nil, nil, err
	}
	return goYamuxSession{c}, goYamuxSession{s}, nil
}

func (s goYamuxSession) open() (stream, error)   { return s.OpenStream(context.Background()) }
func (s goYamuxSession) accept() (stream, error) { return s.AcceptStream() }
func (s goYamuxSession) streams() int            { return s.NumStreams() }
func (s goYamuxSession) close() error            { return s.Close() }

// ready waits for the measurement that every session makes when it starts. Windows grow by what it found; a workload that
// started earlier would sometimes have it done in the middle of its bulk, and find another round trip.
func (s goYamuxSession) ready() error {
	deadline := time.Now().Add(10 * time.Second)
	for s.RTT() == 0 {
		if s.IsClosed() || time.Now().After(deadline) {
			return errors.New("no round trip was measured")
		}
		time.Sleep(100 * time.Microsecond)
	}
	return nil
}

type hashicorpSession struct{ *hashicorp.Session }

// Need is of no use here: this library limits only the streams not yet acknowledged (AcceptBacklog, 256), and OpenStream
// waits as long as there are so many.
func hashicorpYamux(client, server net.Conn, _ int) (session, session, error) {
	config := hashicorp.DefaultConfig()
	config.LogOutput = io.Discard
	c, err := hashicorp.Client(client, config)
	if err != nil {
		return nil, nil, err
	}
	s, err := hashicorp.Server(server, config)
	if err != nil {
		c.Close()
		return nil, nil, err
	}
	return hashicorpSession{c}, hashicorpSession{s}, nil
}

func (s hashicorpSession) open() (stream, error) {
	opened, err := s.OpenStream()
	return hashicorpStream{opened}, err
}

func (s hashicorpSession) accept() (stream, error) {
	accepted, err := s.AcceptStream()
	return hashicorpStream{accepted}, err
}

func (s hashicorpSession) streams() int { return s.NumStreams() }
func (s hashicorpSession) close() error { return s.Close() }

func (s hashicorpSession) ready() error {
	_, err := s.Ping()
	return err
}

// hashicorpStream gives Close the name that says what it does in this library: it sends FIN, and the stream can be read on
// until the peer's FIN. It holds one pointer, so a handle costs no memory beyond its interface.
type hashicorpStream struct{ *hashicorp.Stream }

func (s hashicorpStream) CloseWrite() error { return s.Close() }
