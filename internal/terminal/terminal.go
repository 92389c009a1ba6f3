// Package terminal has what a client does with the bytes between a terminal and a program
// in a VM: it finds the detach key, passes only harmless sequences of the program to the
// terminal, and undoes what the program leaves.
package terminal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"regexp"
	"time"
)

// ErrDetached says that the detach key was pressed.
var ErrDetached = errors.New("detached")

// Detacher is a writer that watches the input for Ctrl-] three times within a second, the
// detach key of machinectl, and then returns ErrDetached.
type Detacher struct {
	Enabled bool
	count   int
	first   time.Time
}

// detachKeys are the encodings of Ctrl-]: plain, in the kitty keyboard protocol, and with
// xterm's modifyOtherKeys.
var detachKeys = [][]byte{{0x1d}, []byte("\x1b[93;5u"), []byte("\x1b[27;5;93~")}

func (d *Detacher) Write(typed []byte) (int, error) {
	for rest := typed; d.Enabled && len(rest) > 0; {
		n := 0
		for _, key := range detachKeys {
			if bytes.HasPrefix(rest, key) {
				n = len(key)
			}
		}
		if n == 0 {
			d.count = 0
			rest = rest[1:]
			continue
		}
		rest = rest[n:]
		if d.count == 0 || time.Since(d.first) > time.Second {
			d.count, d.first = 0, time.Now()
		}
		if d.count++; d.count == 3 {
			return 0, ErrDetached
		}
	}
	return len(typed), nil
}

// Read returns a channel with what is typed, which is closed when reading fails.
func Read(terminal io.Reader) <-chan []byte {
	typed := make(chan []byte)
	go func() {
		defer close(typed)
		for {
			buf := make([]byte, 4096)
			n, err := terminal.Read(buf)
			if n > 0 {
				typed <- buf[:n]
			}
			if err != nil {
				return
			}
		}
	}()
	return typed
}

// lastQuery asks for a mode that no terminal has and no program can know, and then what the
// terminal is. A terminal answers in order, so it has answered everything after these two.
const lastQuery = "\x1b[?%d$p\x1b[c"

// If a terminal answers only the second query, which a program may have sent, too, it must also be
// silent for some time.
const (
	silence       = 250 * time.Millisecond
	settleTimeout = 2 * time.Second // for terminals that do not answer
)

// Settle waits until the terminal has answered all queries, and discards the answers and
// other input. Otherwise the user's shell would read the answers as if they were typed.
func Settle(terminal io.Writer, typed <-chan []byte) {
	mode := 10000 + rand.IntN(20000)
	fmt.Fprintf(terminal, lastQuery, mode)
	last := regexp.MustCompile(fmt.Sprintf(`(?s)\x1b\[\?%d;[0-9]*\$y.*\x1b\[\?[0-9;]*c`, mode))
	timeout := time.After(settleTimeout)
	var silent <-chan time.Time
	var tail []byte
	for {
		select {
		case p, ok := <-typed:
			tail = append(tail[max(0, len(tail)-100):], p...)
			if !ok || last.Match(tail) {
				return
			}
			if silent != nil || identity.Match(tail) {
				silent = time.After(silence)
			}
		case <-silent:
			return
		case <-timeout:
			return
		}
	}
}

// identity is the answer to the second query.
var identity = regexp.MustCompile(`\x1b\[\?[0-9;]*c`)
