package main

import (
	"context"
	"errors"
	"net"

	yamux "github.com/libp2p/go-yamux/v3"

	"sluicegate/interop/line"
)

type v3Session struct{ *yamux.Session }

type v3Stream struct{ *yamux.Stream }

func goYamuxV3(set settings) (start, error) {
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
		return v3Session{s}, err
	}, nil
}

func (s v3Session) open() (stream, error) {
	str, err := s.OpenStream(context.Background())
	return v3Stream{str}, err
}

func (s v3Session) accept() (stream, error) {
	str, err := s.AcceptStream()
	return v3Stream{str}, err
}

func (s v3Session) closeWith(code uint32) error {
	if code != 0 {
		return line.Unsupported("its API closes without a code")
	}
	return s.Close()
}

func (s v3Session) closed() error {
	<-s.CloseChan()
	// On a closed session this is the reason.
	_, err := s.OpenStream(context.Background())
	return err
}

func (v3Session) explain(err error) error {
	if errors.Is(err, yamux.ErrStreamReset) {
		return line.ResetUnknown
	}
	return err
}

func (s v3Stream) ResetWithError(code uint32) error {
	if code != 0 {
		return line.Unsupported("its API resets without a code")
	}
	return s.Reset()
}
