package main

import (
	"context"
	"errors"
	"net"

	yamux "github.com/libp2p/go-yamux/v5"

	"sluicegate/interop/line"
)

type v5Session struct{ *yamux.Session }

func goYamuxV5(set settings) (start, error) {
	config := yamux.DefaultConfig()
	if set.window != 0 {
		config.MaxStreamWindowSize = set.window
	}
	if set.openTimeout != 0 {
		return nil, line.Unsupported("open_timeout")
	}
	if err := yamux.VerifyConfig(config); err != nil {
		return nil, err
	}
	return func(conn net.Conn, server bool) (session, error) {
		role := yamux.Client
		if server {
			role = yamux.Server
		}
		s, err := role(conn, config, nil)
		return v5Session{s}, err
	}, nil
}

func (s v5Session) open() (stream, error) {
	return s.OpenStream(context.Background())
}

func (s v5Session) accept() (stream, error) {
	return s.AcceptStream()
}

func (s v5Session) closeWith(code uint32) error {
	if code == 0 {
		return s.Close()
	}
	return s.CloseWithError(code)
}

func (s v5Session) closed() error {
	<-s.CloseChan()
	// On a closed session this is the reason.
	_, err := s.OpenStream(context.Background())
	return err
}

func (v5Session) explain(err error) error {
	var reset *yamux.StreamError
	var away *yamux.GoAwayError
	switch {
	case errors.As(err, &reset):
		return line.Reset(reset.Remote, reset.ErrorCode)
	case errors.As(err, &away):
		return line.GoAway(away.Remote, away.ErrorCode)
	case err == yamux.ErrStreamReset:
		// When the connection is lost, the same error is wrapped with the cause, and the words tell more.
		return line.ResetUnknown
	}
	return err
}
