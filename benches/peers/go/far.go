package main

import (
	"errors"
	"fmt"
	"net"
	"time"
)

const (
	farWrite     = 64 << 10
	farExchanges = 3
	farPause     = 200 * time.Millisecond
)

type listening struct {
	Listening string `json:"listening"`
}

// far moves bytes over one stream of a connection that the harness leads through a long link. It says where it listens and
// gets the address to dial, of what forwards to it; `via` is the second line of this one command.
func far(h *harness, lib library, bytes int) (any, error) {
	if err := checkSizes(farWrite, bytes); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer listener.Close()
	if err := h.say(listening{listener.Addr().String()}); err != nil {
		return nil, err
	}
	words, ok := h.next()
	if !ok || len(words) != 2 || words[0] != "via" {
		return nil, errors.New("far must be followed by via and an address")
	}
	client, server, err := through(listener.(*net.TCPListener), words[1])
	if err != nil {
		return nil, err
	}
	return overConns(lib, client, server, 0, func(p *pair) (any, error) {
		last := make(chan time.Time, 1)
		p.serve(func() error {
			first, err := p.server.accept()
			if err != nil {
				return err
			}
			if err := respond(first, farExchanges); err != nil {
				return err
			}
			second, err := p.server.accept()
			if err != nil {
				return err
			}
			at, err := receive(second, farWrite, bytes)
			last <- at
			return err
		})
		if err := warmLink(p); err != nil {
			return nil, err
		}
		s, err := p.client.open()
		if err != nil {
			return nil, err
		}
		buf := patterned(farWrite)
		start := time.Now()
		if err := send(s, buf, bytes); err != nil {
			return nil, err
		}
		// The answer comes half a round trip after the end of the clock.
		if err := awaitDone(s); err != nil {
			return nil, err
		}
		if err := expectEOF(s); err != nil {
			return nil, err
		}
		return elapsed{(<-last).Sub(start).Seconds()}, nil
	})
}

// warmLink lets both ends find out how far they are from each other.
func warmLink(p *pair) error {
	s, err := p.client.open()
	if err != nil {
		return err
	}
	message := patterned(messageSize)
	for i := range uint64(farExchanges) {
		if err := exchange(s, message, 0, i); err != nil {
			return err
		}
		time.Sleep(farPause)
	}
	if err := s.CloseWrite(); err != nil {
		return err
	}
	if err := expectEOF(s); err != nil {
		return err
	}
	if err := p.ready(); err != nil {
		return fmt.Errorf("after %d exchanges: %w", farExchanges, err)
	}
	return nil
}

// through dials the address and accepts what comes of it.
func through(listener *net.TCPListener, address string) (client, server net.Conn, err error) {
	const wait = 30 * time.Second
	if err := listener.SetDeadline(time.Now().Add(wait)); err != nil {
		return nil, nil, err
	}
	client, err = net.DialTimeout("tcp", address, wait)
	if err != nil {
		return nil, nil, err
	}
	server, err = listener.Accept()
	if err == nil {
		err = errors.Join(noDelay(client), noDelay(server))
	}
	if err != nil {
		client.Close()
		if server != nil {
			server.Close()
		}
		return nil, nil, err
	}
	return client, server, nil
}
