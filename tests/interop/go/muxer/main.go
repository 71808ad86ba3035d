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

	begun   sync.Once
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
	p := &program{
		implementation: found,
		ready:          make(chan struct{}),
		streams:        make(map[uint64]stream),
		lastAccept:     make(chan struct{}),
	}
	close(p.lastAccept)
	line.Serve(p.prepare)
}

func (p *program) prepare(r line.Request) func() string {
	run := p.run
	if r.Verb == "accept" {
		before, done := p.lastAccept, make(chan struct{})
		p.lastAccept = done
		run = func(r line.Request) (string, error) {
			<-before
			defer close(done)
			return p.run(r)
		}
	}
	return func() string {
		answer, err := run(r)
		if err == nil {
			return answer
		}
		select {
		case <-p.ready:
			if p.session != nil {
				err = p.session.explain(err)
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

func (p *program) run(r line.Request) (string, error) {
	switch r.Verb {
	case "listen":
		return p.listen(r.Args)
	case "dial":
		return p.dial(r.Args)
	}

	<-p.ready
	if p.err != nil {
		return "", p.err
	}

	switch r.Verb {
	case "open":
		return p.name(r.Args, p.session.open)
	case "accept":
		return p.name(r.Args, p.session.accept)
	case "ping":
		rtt, err := p.session.Ping()
		return line.OK(rtt.Microseconds()), err
	case "goaway":
		return line.OK(), p.session.GoAway()
	case "close":
		n, err := line.Numbers(r.Args, 1)
		if err != nil {
			return "", err
		}
		return line.OK(), p.session.closeWith(uint32(n[0]))
	case "closed":
		return line.OK(), p.session.closed()
	case "streams":
		return line.OK(p.session.NumStreams()), nil
	}

	verb, known := onStream[r.Verb]
	if !known {
		return "", errors.New("unknown verb " + r.Verb)
	}
	n, err := line.Numbers(r.Args, verb.args)
	if err != nil {
		return "", err
	}
	p.mutex.Lock()
	s := p.streams[n[0]]
	p.mutex.Unlock()
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
	"echo": {1, func(s stream, n []uint64) (string, error) {
		total, err := line.Echo(s)
		if err != nil {
			return "", err
		}
		return line.OK(total), s.CloseWrite()
	}},
}

func (p *program) name(args []string, get func() (stream, error)) (string, error) {
	n, err := line.Numbers(args, 1)
	if err != nil {
		return "", err
	}
	s, err := get()
	if err != nil {
		return "", err
	}
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.streams[n[0]] = s
	return line.OK(), nil
}

func (p *program) listen(args []string) (string, error) {
	start, err := p.configure(args)
	if err != nil {
		return "", err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	err = p.begin(func() {
		go func() {
			conn, err := listener.Accept()
			listener.Close()
			p.connected(start, conn, true, err)
		}()
	})
	return line.OK(listener.Addr()), err
}

func (p *program) dial(args []string) (string, error) {
	if len(args) == 0 {
		return "", errors.New("no address")
	}
	start, err := p.configure(args[1:])
	if err != nil {
		return "", err
	}
	if err := p.begin(func() {
		conn, err := net.Dial("tcp", args[0])
		p.connected(start, conn, false, err)
	}); err != nil {
		return "", err
	}
	<-p.ready
	return line.OK(), p.err
}

// begin runs connect unless there is a connection, or one on its way, already.
func (p *program) begin(connect func()) error {
	err := errors.New("one connection only")
	p.begun.Do(func() {
		err = nil
		connect()
	})
	return err
}

// connected starts the session and lets the other requests go on, even if there is nothing to start.
func (p *program) connected(start start, conn net.Conn, server bool, err error) {
	defer close(p.ready)
	if err == nil {
		err = conn.(*net.TCPConn).SetNoDelay(true)
	}
	if err == nil {
		p.session, err = start(conn, server)
	}
	p.err = err
}

func (p *program) configure(args []string) (start, error) {
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
	return p.implementation(set)
}
