// Package terminal has what a client does with the bytes between a terminal and a program
// in a VM: it finds the detach key and undoes what the program leaves.
package terminal

import (
	"bytes"
	"errors"
	"io"
	"time"
)

// ErrDetached says that the detach key was pressed.
var ErrDetached = errors.New("detached")

// Detacher is a writer that watches the input for Ctrl-] three times within a second, the
// detach key of machinectl.
type Detacher struct {
	Enabled  bool
	Detached bool // after the write that returned ErrDetached
	count    int
	first    time.Time
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
			d.Detached = true
			return 0, ErrDetached
		}
	}
	return len(typed), nil
}

// Screen copies output and remembers whether the program has switched to the alternate
// screen, so that Reset can switch back.
type Screen struct {
	W    io.Writer
	tail []byte // an escape sequence may be split over two writes
	on   bool
}

func (a *Screen) Write(p []byte) (int, error) {
	a.tail = append(a.tail, p...)
	on := max(bytes.LastIndex(a.tail, []byte("\x1b[?1049h")), bytes.LastIndex(a.tail, []byte("\x1b[?47h")))
	off := max(bytes.LastIndex(a.tail, []byte("\x1b[?1049l")), bytes.LastIndex(a.tail, []byte("\x1b[?47l")))
	if on != off {
		a.on = on > off
	}
	a.tail = append(a.tail[:0], a.tail[max(0, len(a.tail)-7):]...)
	return a.W.Write(p)
}

// Reset returns the escape sequences that undo what a program may leave when it is killed
// with its VM: scroll region, wrapping, keypad, character set, mouse and focus reports,
// bracketed paste, synchronised output, colour scheme reports, hidden cursor, keyboard
// protocols, attributes.
func (a *Screen) Reset() string {
	const modes = "\x1b7\x1b[r\x1b8\x1b[?7h\x1b>\x1b(B\x0f\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?1004l\x1b[?2004l\x1b[?2026l\x1b[?2031l\x1b[?1l" +
		"\x1b[?25h\x1b[<99u\x1b[>4;0m\x1b[0m"
	if a.on {
		return "\x1b[?1049l" + modes
	}
	return modes + "\r\n"
}
