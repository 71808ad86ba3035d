// A go-libp2p node, steered by the lines of ../../README.md.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	basichost "github.com/libp2p/go-libp2p/p2p/host/basic"
	"github.com/libp2p/go-libp2p/p2p/protocol/ping"
	"github.com/multiformats/go-multiaddr"

	"sluicegate/interop/line"
)

const (
	echoProtocol    = "/sluicegate/echo/1.0.0"
	messageProtocol = "/sluicegate/message/1.0.0"
)

type node struct {
	host *basichost.BasicHost

	// peer is whom the first connection leads to; it is set when connected is closed.
	first     sync.Once
	connected chan struct{}
	peer      peer.ID

	mutex    sync.Mutex
	messages [][]byte
	// broken counts messages of which the end did not come.
	broken int
}

func main() {
	if len(os.Args) != 2 || os.Args[1] != "node" {
		fmt.Fprintln(os.Stderr, "usage: node node")
		os.Exit(2)
	}
	host, err := newHost()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	n := &node{host: host, connected: make(chan struct{})}
	host.Network().Notify(&network.NotifyBundle{ConnectedF: func(_ network.Network, conn network.Conn) {
		n.first.Do(func() {
			n.peer = conn.RemotePeer()
			close(n.connected)
		})
	}})
	host.SetStreamHandler(echoProtocol, func(s network.Stream) {
		_, err := line.Echo(s)
		if err == nil {
			err = s.Close()
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "echo:", err)
			s.Reset()
		}
	})
	host.SetStreamHandler(messageProtocol, func(s network.Stream) {
		message, err := io.ReadAll(s)
		s.Close()
		n.mutex.Lock()
		defer n.mutex.Unlock()
		if err != nil {
			fmt.Fprintln(os.Stderr, "message:", err)
			n.broken++
			return
		}
		n.messages = append(n.messages, message)
	})
	line.Serve(func(r line.Request) func() string {
		return func() string {
			answer, err := n.run(r)
			if err != nil {
				return string(explain(err))
			}
			return answer
		}
	})
}

func (n *node) run(r line.Request) (string, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()

	switch r.Verb {
	case "listen":
		return n.listen()
	case "dial":
		if len(r.Args) != 1 {
			return "", errors.New("no address")
		}
		info, err := peer.AddrInfoFromString(r.Args[0])
		if err != nil {
			return "", err
		}
		return line.OK(), n.host.Connect(ctx, *info)
	}

	<-n.connected
	// A lost connection must show, so nothing dials again.
	ctx = network.WithNoDial(ctx, "it is dialled once")

	switch r.Verb {
	case "identify":
		return n.identify()
	case "ping":
		result := <-ping.Ping(ctx, n.host, n.peer)
		return line.OK(result.RTT.Microseconds()), result.Error
	case "echo":
		args, err := line.Numbers(r.Args, 2)
		if err != nil {
			return "", err
		}
		s, err := n.host.NewStream(ctx, n.peer, protocol.ID(echoProtocol))
		if err != nil {
			return "", err
		}
		return line.OK(), echo(s, args[0], args[1])
	case "echoes":
		args, err := line.Numbers(r.Args, 2)
		if err != nil {
			return "", err
		}
		return n.echoes(ctx, int(args[0]), args[1])
	case "messages":
		args, err := line.Numbers(r.Args, 2)
		if err != nil {
			return "", err
		}
		return line.OK(), n.send(ctx, int(args[0]), args[1])
	case "received":
		args, err := line.Numbers(r.Args, 1)
		if err != nil {
			return "", err
		}
		return n.received(args[0]), nil
	case "connections":
		return line.OK(len(n.host.Network().ConnsToPeer(n.peer))), nil
	}
	return "", errors.New("unknown verb " + r.Verb)
}

func (n *node) listen() (string, error) {
	if err := n.host.Network().Listen(multiaddr.StringCast("/ip4/127.0.0.1/tcp/0")); err != nil {
		return "", err
	}
	addresses := n.host.Network().ListenAddresses()
	return line.OK(fmt.Sprintf("%s/p2p/%s", addresses[len(addresses)-1], n.host.ID())), nil
}

func (n *node) identify() (string, error) {
	for _, conn := range n.host.Network().ConnsToPeer(n.peer) {
		<-n.host.IDService().IdentifyWait(conn)
	}
	agent, err := n.host.Peerstore().Get(n.peer, "AgentVersion")
	if err != nil {
		// This is how a failure shows: waiting tells nothing.
		return "", fmt.Errorf("not identified: %w", err)
	}
	protocols, err := n.host.Peerstore().GetProtocols(n.peer)
	if err != nil {
		return "", err
	}
	slices.Sort(protocols)
	words := []any{strings.ReplaceAll(agent.(string), " ", "_")}
	for _, p := range protocols {
		words = append(words, p)
	}
	return line.OK(words...), nil
}

// echoes counts the streams that came back whole and those that were refused. Any other ending is the answer.
func (n *node) echoes(ctx context.Context, count int, length uint64) (string, error) {
	streams := make([]network.Stream, count)
	results := make([]error, count)
	var group sync.WaitGroup
	var refused int
	for i := range streams {
		group.Go(func() { streams[i], results[i] = n.host.NewStream(ctx, n.peer, protocol.ID(echoProtocol)) })
	}
	group.Wait()
	for i, s := range streams {
		if results[i] != nil {
			fmt.Fprintln(os.Stderr, "open:", results[i])
			refused++
			continue
		}
		group.Go(func() { results[i] = echo(s, uint64(i), length) })
	}
	group.Wait()

	done := 0
	for i, err := range results {
		switch {
		case err == nil:
			done++
		case streams[i] == nil:
		case strings.HasPrefix(string(explain(err)), "reset "):
			refused++
		default:
			return "", err
		}
	}
	return line.OK(done, refused), nil
}

// send sends messages at once, each on a stream of its own. Where it is known that the peer speaks the protocol, that is not asked:
// the name of the protocol goes ahead of the first bytes.
func (n *node) send(ctx context.Context, count int, length uint64) error {
	results := make(chan error, count)
	for range count {
		go func() { results <- n.sendOne(ctx, length) }()
	}
	var err error
	for range count {
		err = errors.Join(err, <-results)
	}
	return err
}

func (n *node) sendOne(ctx context.Context, length uint64) error {
	s, err := n.host.NewStream(ctx, n.peer, messageProtocol)
	if err != nil {
		return err
	}
	if err := line.Send(s, 0, 0, length); err != nil {
		s.Reset()
		return err
	}
	return s.Close()
}

func (n *node) received(length uint64) string {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	whole := 0
	for _, message := range n.messages {
		r := bytes.NewReader(message)
		if line.Receive(r, 0, 0, length) == nil && r.Len() == 0 {
			whole++
		}
	}
	return line.OK(whole, len(n.messages)-whole+n.broken)
}

// echo sends and compares at the same time.
func echo(s network.Stream, seed, length uint64) error {
	sent := make(chan error, 1)
	go func() {
		err := line.Send(s, seed, 0, length)
		if err == nil {
			err = s.CloseWrite()
		}
		sent <- err
	}()
	err := line.Receive(s, seed, 0, length)
	if err == nil {
		err = line.ExpectEnd(s)
	}
	if err != nil {
		s.Reset()
		<-sent
		return err
	}
	if err := <-sent; err != nil {
		s.Reset()
		return err
	}
	return s.Close()
}

func explain(err error) line.Result {
	var result line.Result
	var reset *network.StreamError
	var away *network.ConnError
	switch {
	case errors.As(err, &result):
		return result
	case errors.As(err, &reset):
		return line.Reset(reset.Remote, uint32(reset.ErrorCode))
	case errors.As(err, &away):
		return line.GoAway(away.Remote, uint32(away.ErrorCode))
	case errors.Is(err, network.ErrReset):
		return line.ResetUnknown
	}
	return line.Failed(err)
}
