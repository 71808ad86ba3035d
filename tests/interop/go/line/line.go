// Package line speaks the lines of the interoperation tests and makes their bytes.
package line

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
)

// A Request is a line without its tag.
type Request struct {
	Verb string
	Args []string
}

// Serve reads requests from standard input and exits when it ends.
//
// prepare is called in the order of the lines; what it returns runs on its own goroutine and makes the answer.
func Serve(prepare func(Request) func() string) {
	var mutex sync.Mutex
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		words := strings.Split(lines.Text(), " ")
		if len(words) < 2 {
			fmt.Fprintf(os.Stderr, "not a request: %q\n", lines.Text())
			continue
		}
		run := prepare(Request{Verb: words[1], Args: words[2:]})
		go func() {
			answer := run()
			mutex.Lock()
			defer mutex.Unlock()
			fmt.Fprintf(os.Stdout, "%s %s\n", words[0], answer)
		}()
	}
	// The peer must not hear a farewell, so nothing is closed here.
	os.Exit(0)
}

// Numbers parses exactly count numbers.
func Numbers(args []string, count int) ([]uint64, error) {
	if len(args) != count {
		return nil, fmt.Errorf("%d arguments where %d are needed", len(args), count)
	}
	numbers := make([]uint64, count)
	for i, arg := range args {
		n, err := strconv.ParseUint(arg, 10, 64)
		if err != nil {
			return nil, err
		}
		numbers[i] = n
	}
	return numbers, nil
}

// A Result is an error that knows its answer.
type Result string

func (r Result) Error() string { return string(r) }

// More is the result when bytes come where the end of the stream was expected.
const More Result = "more"

// End is the result when the stream ended at an offset of the pattern before the last byte.
func End(at uint64) Result { return Result(fmt.Sprintf("end %d", at)) }

// Differs is the result when the byte at an offset of the pattern is not the one that was sent.
func Differs(at uint64) Result { return Result(fmt.Sprintf("differs %d", at)) }

// Reset is the result when the stream was reset, by an API that tells the side and the code.
func Reset(remote bool, code uint32) Result {
	return Result(fmt.Sprintf("reset %s %d", side(remote), code))
}

// ResetUnknown is the result when the stream was reset, by an API that tells nothing else.
const ResetUnknown Result = "reset ? -"

// GoAway is the result when the connection was ended by a go-away.
func GoAway(remote bool, code uint32) Result {
	return Result(fmt.Sprintf("goaway %s %d", side(remote), code))
}

// Unsupported is the result when the API offers no such thing.
func Unsupported(what string) Result { return Result("unsupported " + what) }

// Failed is the result for any other error.
func Failed(err error) Result {
	return Result("failed " + strings.Join(strings.Fields(err.Error()), " "))
}

// OK is the answer to a request that is done.
func OK(values ...any) string {
	return strings.TrimSpace("ok " + fmt.Sprintln(values...))
}

func side(remote bool) string {
	if remote {
		return "remote"
	}
	return "local"
}
