package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// patience is how long a command may take; after that something hangs, and the connection is closed under it.
const patience = 10 * time.Minute

// pair is both ends of one connection, and what the server does on it.
type pair struct {
	client, server session

	serving sync.WaitGroup
	once    sync.Once
	err     error
}

// withPair runs work over a new loopback connection and closes it. need is as with library.
func withPair(lib library, need int, work func(*pair) (any, error)) (any, error) {
	client, server, err := loopback()
	if err != nil {
		return nil, err
	}
	return overConns(lib, client, server, need, func(p *pair) (any, error) {
		if err := p.ready(); err != nil {
			return nil, err
		}
		return work(p)
	})
}

// overConns makes the sessions over the two connections, runs work, waits until all that serves has come to its end and
// closes. The first error is the one that counts: those after it come from closing.
func overConns(lib library, client, server net.Conn, need int, work func(*pair) (any, error)) (any, error) {
	// The sessions close them as well; twice does no harm.
	defer client.Close()
	defer server.Close()
	var p pair
	var err error
	p.client, p.server, err = lib(client, server, need)
	if err != nil {
		return nil, err
	}
	watchdog := time.AfterFunc(patience, func() { p.fail(errors.New("it hangs")) })
	defer watchdog.Stop()

	answer, err := work(&p)
	if err != nil {
		p.fail(err)
	}
	p.serving.Wait()
	p.fail(nil)
	return answer, p.err
}

// fail closes both sessions, so that whatever waits for them ends. With nil it only closes.
func (p *pair) fail(err error) {
	p.once.Do(func() {
		p.err = err
		p.client.close()
		p.server.close()
	})
}

// serve runs a part of the server in its own goroutine.
func (p *pair) serve(part func() error) {
	p.serving.Add(1)
	go func() {
		defer p.serving.Done()
		if err := part(); err != nil {
			p.fail(fmt.Errorf("server: %w", err))
		}
	}()
}

// ready is when both ends have seen a round trip.
func (p *pair) ready() error {
	if err := p.client.ready(); err != nil {
		return err
	}
	return p.server.ready()
}

// count fails unless both ends come to hold the given number of streams.
func (p *pair) count(streams int) error {
	// Most often they do already. What is missing is on its way, and on some clock: a short pause, not a long one.
	deadline := time.Now().Add(10 * time.Second)
	for {
		client, server := p.client.streams(), p.server.streams()
		if client == streams && server == streams {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d streams at the client and %d at the server, not %d", client, server, streams)
		}
		time.Sleep(20 * time.Microsecond)
	}
}

// loopback returns the two ends of a TCP connection.
func loopback() (client, server net.Conn, err error) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	defer listener.Close()
	client, err = net.Dial("tcp4", listener.Addr().String())
	if err != nil {
		return nil, nil, err
	}
	server, err = listener.Accept()
	if err != nil {
		client.Close()
		return nil, nil, err
	}
	if server.RemoteAddr().String() != client.LocalAddr().String() {
		err = errors.New("somebody else connected")
	}
	if err = errors.Join(err, noDelay(client), noDelay(server)); err != nil {
		client.Close()
		server.Close()
		return nil, nil, err
	}
	return client, server, nil
}

// noDelay sets what Go sets by itself, so that it does not depend on that.
func noDelay(conn net.Conn) error {
	return conn.(*net.TCPConn).SetNoDelay(true)
}

// expectEOF fails if there is anything but the end of the stream.
func expectEOF(s stream) error {
	var more [1]byte
	switch n, err := s.Read(more[:]); {
	case n != 0:
		return errors.New("there is more on the stream")
	case err == nil:
		return errors.New("a read of nothing")
	case err != io.EOF:
		return err
	}
	return nil
}
