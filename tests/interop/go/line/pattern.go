package line

import (
	"bytes"
	"io"
)

const (
	period = 65521
	piece  = 16 * 1024
)

// The table is followed by its beginning, so that every piece is one slice of it.
var table = makeTable()

func makeTable() []byte {
	bytes := make([]byte, period, period+piece)
	x := uint64(0x9E3779B97F4A7C15)
	for i := range bytes {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		bytes[i] = byte(x >> 32)
	}
	return append(bytes, bytes[:piece]...)
}

func pattern(seed, from, to uint64) []byte {
	start := (seed%period*7919 + from%period) % period
	return table[start : start+min(to-from, piece)]
}

// Send writes a part of the pattern.
func Send(w io.Writer, seed, from, to uint64) error {
	for from < to {
		n, err := w.Write(pattern(seed, from, to))
		if err != nil {
			return err
		}
		from += uint64(n)
	}
	return nil
}

// Receive reads a part of the pattern and compares it.
func Receive(r io.Reader, seed, from, to uint64) error {
	var buffer [piece]byte
	for from < to {
		want := pattern(seed, from, to)
		n, err := r.Read(buffer[:len(want)])
		if got := buffer[:n]; !bytes.Equal(got, want[:n]) {
			for i := range got {
				if got[i] != want[i] {
					return Differs(from + uint64(i))
				}
			}
		}
		from += uint64(n)
		switch {
		case from == to:
			// An error that came with the last byte belongs to the next request.
		case err == io.EOF:
			return End(from)
		case err != nil:
			return err
		}
	}
	return nil
}

// ExpectEnd reads on: the stream must end.
func ExpectEnd(r io.Reader) error {
	var buffer [1]byte
	for {
		n, err := r.Read(buffer[:])
		switch {
		case n > 0:
			return More
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}

// Echo sends back what comes until its end.
func Echo(s io.ReadWriter) (uint64, error) {
	var buffer [piece]byte
	var total uint64
	for {
		n, err := s.Read(buffer[:])
		if n > 0 {
			if _, err := s.Write(buffer[:n]); err != nil {
				return total, err
			}
			total += uint64(n)
		}
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}
