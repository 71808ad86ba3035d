// peers-go runs the workloads of the benches over one of the Go implementations of yamux: `peers-go go-yamux` over
// github.com/libp2p/go-yamux, `peers-go hashicorp` over github.com/hashicorp/yamux.
//
// A harness steers it: each line on standard input is a command, and is answered by one line of JSON on standard output;
// {"error":"..."} where anything did not go as it must. At the end of the input it exits. Both ends of a connection live
// in this process, with a loopback TCP connection between them; every command makes its own and closes it. What is moved
// is checked, so that a library is never fast because it loses something.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// harness is the other side of standard input and output.
type harness struct {
	lines *bufio.Scanner
	out   *json.Encoder
}

// next returns the words of the next line, false at the end of the input.
func (h *harness) next() ([]string, bool) {
	if !h.lines.Scan() {
		return nil, false
	}
	return strings.Fields(h.lines.Text()), true
}

// say writes one line; standard output has no buffer of its own here, so the harness has it at once.
func (h *harness) say(answer any) error {
	return h.out.Encode(answer)
}

type failure struct {
	Error string `json:"error"`
}

type elapsed struct {
	Seconds float64 `json:"seconds"`
}

func main() {
	if len(os.Args) != 2 || libraries[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: peers-go go-yamux|hashicorp")
		os.Exit(2)
	}
	lib := libraries[os.Args[1]]
	// As many as the peers in Rust get.
	runtime.GOMAXPROCS(2)

	h := &harness{lines: bufio.NewScanner(os.Stdin), out: json.NewEncoder(os.Stdout)}
	before := runtime.NumGoroutine()
	for {
		words, ok := h.next()
		if !ok {
			break
		}
		// What earlier commands left is collected now, not on the clock of this one.
		runtime.GC()
		answer, err := run(h, lib, words)
		if left := settle(before); err == nil && left > before {
			err = fmt.Errorf("%d goroutines left behind", left-before)
		}
		if err != nil {
			answer = failure{err.Error()}
		}
		if err := h.say(answer); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	if err := h.lines.Err(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(h *harness, lib library, words []string) (any, error) {
	if len(words) == 0 {
		return nil, errors.New("an empty line")
	}
	command, ok := commands[words[0]]
	if !ok {
		return nil, fmt.Errorf("unknown command %q", words[0])
	}
	if len(words)-1 != command.numbers {
		return nil, fmt.Errorf("%s takes %d numbers", words[0], command.numbers)
	}
	numbers := make([]int, command.numbers)
	for i := range numbers {
		n, err := strconv.Atoi(words[1+i])
		if err != nil || n < 0 {
			return nil, fmt.Errorf("%q is no number", words[1+i])
		}
		numbers[i] = n
	}
	return command.run(h, lib, numbers)
}

var commands = map[string]struct {
	numbers int
	run     func(h *harness, lib library, n []int) (any, error)
}{
	"transfer":  {2, func(_ *harness, lib library, n []int) (any, error) { return transfer(lib, n[0], n[1]) }},
	"wan":       {0, func(h *harness, lib library, _ []int) (any, error) { return wan(h, lib) }},
	"rr":        {2, func(_ *harness, lib library, n []int) (any, error) { return requestResponse(lib, n[0], n[1]) }},
	"openclose": {1, func(_ *harness, lib library, n []int) (any, error) { return openClose(lib, n[0]) }},
	"openmany":  {1, func(_ *harness, lib library, n []int) (any, error) { return openMany(lib, n[0]) }},
	"idle":      {1, func(_ *harness, lib library, n []int) (any, error) { return idle(lib, n[0]) }},
	"latency":   {2, func(_ *harness, lib library, n []int) (any, error) { return latency(lib, n[0], n[1]) }},
	"far":       {1, func(h *harness, lib library, n []int) (any, error) { return far(h, lib, n[0]) }},
}

// settle waits until there are no more goroutines than wanted, or for so long that they must be leaked, and returns how
// many there are: those of a library end shortly after what they served.
func settle(wanted int) int {
	deadline := time.Now().Add(5 * time.Second)
	for {
		n := runtime.NumGoroutine()
		if n <= wanted || time.Now().After(deadline) {
			return n
		}
		time.Sleep(time.Millisecond)
	}
}
