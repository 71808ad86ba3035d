// A yamux connection over plain TCP, steered by the lines of ../../README.md.
package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"sluicegate/interop/line"
)

type program struct {
	implementation implementation
	// current is the last connection; only the reader of the requests looks at it.
	current *connection
}

type connection struct {
	implementation implementation

	begun   bool
	ready   chan struct{}
	session session
	// err tells why there is no session.
	err error

	mutex   sync.Mutex
	streams map[uint64]stream

	// lastAccept is closed when the accept request before the next one is done.
	lastAccept chan struct{}
}

func main() {
	var found implementation
	if len(os.Args) == 2 {
		found = implementations[os.Args[1]]
	}
	if found == nil {
		fmt.Fprintln(os.Stderr, "usage: muxer go-yamux-v3|go-yamux-v5|hashicorp")
		os.Exit(2)
	}
	p := &program{implementation: found, current: newConnection(found)}
	line.Serve(p.prepare)
}

func newConnection(implementation implementation) *connection {
	c := &connection{
		implementation: implementation,
		ready:          make(chan struct{}),
		streams:        make(map[uint64]stream),
		lastAccept:     make(chan struct{}),
	}
	close(c.lastAccept)
	return c
}

func (p *program) prepare(r line.Request) func() string {
	if r.Verb == "listen" || r.Verb == "dial" {
		if p.current.begun {
			p.current = newConnection(p.implementation)
		}
		p.current.begun = true
	}
	return p.current.prepare(r)
}

func (c *connection) prepare(r line.Request) func() string {
	run := c.run
	if r.Verb == "accept" {
		before, done := c.lastAccept, make(chan struct{})
		c.lastAccept = done
		run = func(r line.Request) (string, error) {
			<-before
			defer close(done)
			return c.run(r)
		}
	}
	return func() string {
		answer, err := run(r)
		if err == nil {
			return answer
		}
		select {
		case <-c.ready:
			if c.session != nil {
				err = c.session.explain(err)
			}
		default:
		}
		var result line.Result
		if !errors.As(err, &result) {
			result = line.Failed(err)
		}
		return string(result)
	}
}

func (c *connection) run(r line.Request) (string, error) {
	switch r.Verb {
	case "listen":
		return c.listen(r.Args)
	case "dial":
		return c.dial(r.Args)
	}

	<-c.ready
	if c.err != nil {
		return "", c.err
	}

	switch r.Verb {
	case "open":
		return c.name(r.Args, c.session.open)
	case "accept":
		return c.name(r.Args, c.session.accept)
	case "ping":
		rtt, err := c.session.Ping()
		return line.OK(rtt.Microseconds()), err
	case "goaway":
		return line.OK(), c.session.GoAway()
	case "close":
		n, err := line.Numbers(r.Args, 1)
		if err != nil {
			return "", err
		}
		return line.OK(), c.session.closeWith(uint32(n[0]))
	case "closed":
		return line.OK(), c.session.closed()
	case "streams":
		return line.OK(c.session.NumStreams()), nil
	}

	verb, known := onStream[r.Verb]
	if !known {
		return "", errors.New("unknown verb " + r.Verb)
	}
	n, err := line.Numbers(r.Args, verb.args)
	if err != nil {
		return "", err
	}
	c.mutex.Lock()
	s := c.streams[n[0]]
	c.mutex.Unlock()
	if s == nil {
		return "", fmt.Errorf("no stream is named %d", n[0])
	}
	return verb.run(s, n)
}

// onStream has the verbs whose first argument names a stream.
var onStream = map[string]struct {
	args int
	run  func(s stream, n []uint64) (string, error)
}{
	"send":    {4, func(s stream, n []uint64) (string, error) { return line.OK(), line.Send(s, n[1], n[2], n[3]) }},
	"receive": {4, func(s stream, n []uint64) (string, error) { return line.OK(), line.Receive(s, n[1], n[2], n[3]) }},
	"end":     {1, func(s stream, n []uint64) (string, error) { return line.OK(), line.ExpectEnd(s) }},
	"finish":  {1, func(s stream, n []uint64) (string, error) { return line.OK(), s.CloseWrite() }},
	"reset":   {2, func(s stream, n []uint64) (string, error) { return line.OK(), s.ResetWithError(uint32(n[1])) }},
	"drop":    {1, func(s stream, n []uint64) (string, error) { return line.OK(), s.Close() }},
	"echo": {1, func(s stream, n []uint64) (string, error) {
		total, err := line.Echo(s)
		if err != nil {
			return "", err
		}
		return line.OK(total), s.CloseWrite()
	}},
}

func (c *connection) name(args []string, get func() (stream, error)) (string, error) {
	n, err := line.Numbers(args, 1)
	if err != nil {
		return "", err
	}
	s, err := get()
	if err != nil {
		return "", err
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.streams[n[0]] = s
	return line.OK(), nil
}

func (c *connection) listen(args []string) (string, error) {
	start, err := c.configure(args)
	if err != nil {
		return "", err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	go func() {
		conn, err := listener.Accept()
		listener.Close()
		c.connected(start, conn, true, err)
	}()
	return line.OK(listener.Addr()), nil
}

func (c *connection) dial(args []string) (string, error) {
	if len(args) == 0 {
		return "", errors.New("no address")
	}
	start, err := c.configure(args[1:])
	if err != nil {
		return "", err
	}
	conn, err := net.Dial("tcp", args[0])
	c.connected(start, conn, false, err)
	return line.OK(), c.err
}

// connected starts the session and lets the other requests go on, even if there is nothing to start.
func (c *connection) connected(start start, conn net.Conn, server bool, err error) {
	defer close(c.ready)
	if err == nil {
		err = conn.(*net.TCPConn).SetNoDelay(true)
	}
	if err == nil {
		c.session, err = start(conn, server)
	}
	c.err = err
}

func (c *connection) configure(args []string) (start, error) {
	var set settings
	for _, arg := range args {
		key, value, _ := strings.Cut(arg, "=")
		n, err := strconv.ParseUint(value, 10, 32)
		if err != nil {
			return nil, err
		}
		switch key {
		case "window":
			set.window = uint32(n)
		case "open_timeout":
			set.openTimeout = time.Duration(n) * time.Millisecond
		default:
			return nil, errors.New("unknown setting " + key)
		}
	}
	return c.implementation(set)
}
