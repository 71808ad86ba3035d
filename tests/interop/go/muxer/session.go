package main

import (
	"io"
	"net"
	"time"
)

// settings that are zero leave the default of the implementation.
type settings struct {
	window      uint32
	openTimeout time.Duration
}

// An implementation checks the settings before there is a connection to start with.
type implementation func(settings) (start, error)

type start func(conn net.Conn, server bool) (session, error)

var implementations = map[string]implementation{
	"go-yamux-v3": goYamuxV3,
	"go-yamux-v5": goYamuxV5,
	"hashicorp":   hashicorp,
}

type session interface {
	open() (stream, error)
	accept() (stream, error)
	Ping() (time.Duration, error)
	GoAway() error
	closeWith(code uint32) error
	// closed waits until the session is over and returns the reason.
	closed() error
	NumStreams() int
	// explain turns an error of the implementation into a line.Result where it can.
	explain(error) error
}

type stream interface {
	io.ReadWriter
	CloseWrite() error
	// Close lets go of both halves.
	Close() error
	ResetWithError(code uint32) error
}
