package main

import (
	"errors"
	"net"

	"github.com/hashicorp/yamux"

	"sluicegate/interop/line"
)

type hashicorpSession struct {
	*yamux.Session
	backlog int
}

type hashicorpStream struct{ *yamux.Stream }

func hashicorp(set settings) (start, error) {
	config := yamux.DefaultConfig()
	if set.window != 0 {
		config.MaxStreamWindowSize = set.window
	}
	if set.openTimeout != 0 {
		config.StreamOpenTimeout = set.openTimeout
	}
	if err := yamux.VerifyConfig(config); err != nil {
		return nil, err
	}
	return func(conn net.Conn, server bool) (session, error) {
		role := yamux.Client
		if server {
			role = yamux.Server
		}
		s, err := role(conn, config)
		return hashicorpSession{s, config.AcceptBacklog}, err
	}, nil
}

func (s hashicorpSession) open() (stream, error) {
	str, err := s.OpenStream()
	return hashicorpStream{str}, err
}

func (s hashicorpSession) accept() (stream, error) {
	str, err := s.AcceptStream()
	return hashicorpStream{str}, err
}

func (s hashicorpSession) closeWith(code uint32) error {
	if code != 0 {
		return line.Unsupported("its API closes without a code")
	}
	return s.Close()
}

func (s hashicorpSession) closed() error {
	<-s.CloseChan()
	// Only accepting tells the reason, and not before the streams that still wait for it are used up.
	var err error
	for range s.backlog + 1 {
		if _, err = s.AcceptStream(); err != nil && !errors.Is(err, yamux.ErrSessionShutdown) {
			break
		}
	}
	return err
}

func (hashicorpSession) explain(err error) error {
	if errors.Is(err, yamux.ErrConnectionReset) {
		return line.ResetUnknown
	}
	return err
}

// Close closes the write half only: reading goes on.
func (s hashicorpStream) CloseWrite() error {
	return s.Close()
}

func (hashicorpStream) ResetWithError(uint32) error {
	return line.Unsupported("its API has no reset")
}
