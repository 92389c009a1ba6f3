package terminal

import (
	"bytes"
	"io"
	"sync"
	"time"
	"unicode/utf8"
)

// Screen is a writer to a terminal of the host for the output of a program in a VM, which
// may try to attack the terminal or its user. It passes valid UTF-8 and the complete
// sequences that the functions in sequence.go permit, and nothing else: so all terminals,
// also those that tmux is between, read the same sequences as it does.
type Screen struct {
	W    io.Writer
	Name string // of the VM; it is written before all titles
	// Clipboard means that the program may set the clipboard.
	Clipboard bool
	// Silent means that nothing reads what the terminal answers to queries. They are dropped.
	Silent bool

	mu        sync.Mutex
	ended     bool
	denied    bool      // an attempt to use the clipboard
	titled    bool      // a title has been set
	alternate bool      // the program has switched to the alternate screen
	asked     time.Time // of the last query to the terminal

	state   state
	partial []byte // the start of a UTF-8 character that continues in the next write
	seq     []byte // the sequence that is being read, without ESC
	out     []byte // what remains of one write
}

// state is what Screen expects next.
type state int

const (
	ground    state = iota
	escape          // the rest of an escape sequence
	control         // the rest of a control sequence, which starts with ESC [
	text            // the rest of a control string, such as OSC
	textFinal       // \ after the ESC at the end of a control string
)

// Limits of a sequence in bytes. Longer ones are dropped.
const (
	maxEscape  = 4
	maxControl = 256
	maxText    = 1 << 20 // an image or the clipboard
)

const (
	enq = 0x05
	bel = 0x07
	can = 0x18
	sub = 0x1a
	esc = 0x1b
)

func (s *Screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return len(p), nil
	}
	rest := p
	if len(s.partial) > 0 {
		rest = append(s.partial, p...)
		s.partial = nil
	}
	if s.state == ground && plain(rest) == len(rest) {
		_, err := s.W.Write(rest)
		return len(p), err
	}
	s.out = s.out[:0]
	for len(rest) > 0 {
		if s.state == ground {
			rest = rest[s.ground(rest):]
		} else {
			rest = rest[s.sequence(rest):]
		}
	}
	if len(s.out) == 0 {
		return len(p), nil
	}
	_, err := s.W.Write(s.out)
	return len(p), err
}

// plain returns the length of the first part of p that is passed unchanged in the ground
// state: valid UTF-8 without ESC, without the control characters U+0080 to U+009F, with
// which sequences can start, too, and without ENQ, to which PuTTY answers.
func plain(p []byte) int {
	end := len(p)
	for _, c := range []byte{esc, enq} {
		if i := bytes.IndexByte(p[:end], c); i >= 0 {
			end = i
		}
	}
	for i := 0; i < end; {
		if p[i] < utf8.RuneSelf {
			i++
			continue
		}
		r, n := utf8.DecodeRune(p[i:end])
		if r == utf8.RuneError && n == 1 || r < 0xa0 {
			return i
		}
		i += n
	}
	return end
}

// ground processes text at the start of p, or the first byte of a sequence. It returns the
// number of bytes.
func (s *Screen) ground(p []byte) int {
	if n := plain(p); n > 0 {
		s.out = append(s.out, p[:n]...)
		return n
	}
	switch p[0] {
	case esc:
		s.start()
		return 1
	case enq:
		return 1
	}
	if !utf8.FullRune(p) {
		s.partial = bytes.Clone(p)
		return len(p)
	}
	_, n := utf8.DecodeRune(p) // invalid, or a control character
	s.out = utf8.AppendRune(s.out, utf8.RuneError)
	return n
}

// start is called after ESC.
func (s *Screen) start() { s.state, s.seq = escape, s.seq[:0] }

// sequence processes bytes of a sequence at the start of p and returns their number. At a
// byte that cannot be part of the sequence, it drops the sequence and returns 0.
func (s *Screen) sequence(p []byte) int {
	c := p[0]
	switch {
	case s.state == textFinal:
		if s.state = ground; c == '\\' {
			s.pass(s.text("\x1b\\"))
			return 1
		}
		s.start() // the ESC was that of another sequence
		return 0
	case s.state == text:
		return s.collect(p)
	case c == esc:
		s.start()
		return 1
	case c < ' ' || c > '~':
		s.state = ground
		return 0
	}
	limit := maxEscape
	if s.state == control {
		limit = maxControl
	}
	if len(s.seq) <= limit {
		s.seq = append(s.seq, c)
	}
	s.advance(c)
	return 1
}

// advance changes the state after a byte of an escape or control sequence, and passes the
// sequence if it is complete and permitted.
func (s *Screen) advance(c byte) {
	switch {
	case s.state == escape && len(s.seq) == 1 && c == '[':
		s.state = control
	case s.state == escape && len(s.seq) == 1 && isText(c):
		s.state = text
	case s.state == escape && c >= '0':
		s.state = ground
		s.pass(s.escape())
	case s.state == control && c >= '@':
		s.state = ground
		s.pass(s.control())
	}
}

// collect adds bytes to a control string and returns their number.
func (s *Screen) collect(p []byte) int {
	n := 0
	for n < len(p) && p[n] >= ' ' {
		n++
	}
	s.seq = append(s.seq, p[:min(n, max(0, maxText+1-len(s.seq)))]...)
	if n == len(p) {
		return n
	}
	switch c := p[n]; {
	case c == esc:
		s.state = textFinal
	case c == bel && s.seq[0] == ']':
		s.state = ground
		s.pass(s.text("\a"))
	case c == can || c == sub:
		s.state = ground
	}
	return n + 1 // other control characters are dropped
}

// pass writes a sequence, which has no ESC at its start, unless it is empty.
func (s *Screen) pass(sequence []byte) {
	if len(sequence) > 0 {
		s.out = append(append(s.out, esc), sequence...)
	}
}

// Denied reports whether the program has tried to use the clipboard in vain.
func (s *Screen) Denied() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.denied
}

// ask is called for a query and reports whether it is passed.
func (s *Screen) ask() bool {
	s.asked = time.Now()
	return !s.Silent
}

// Asked reports whether the terminal may still have to answer a query of the program.
func (s *Screen) Asked() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.Silent && time.Since(s.asked) < 5*time.Second
}

// Reset stops all output to the terminal. It returns the escape sequences that undo what a program may leave when it is killed
// with its VM: scroll region, wrapping, keypad, character set, mouse, focus and size
// reports, bracketed paste, synchronised output, colour scheme reports, hidden cursor,
// keyboard protocols, a locked keyboard, local echo, attributes, title.
func (s *Screen) Reset() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	reset := "\x1b7\x1b[r\x1b8\x1b[?7h\x1b>\x1b(B\x0f" +
		"\x1b[?9l\x1b[?1000l\x1b[?1001l\x1b[?1002l\x1b[?1003l\x1b[?1005l\x1b[?1006l\x1b[?1015l\x1b[?1016l" +
		"\x1b[?1004l\x1b[?2004l\x1b[?2026l\x1b[?2031l\x1b[?2048l\x1b[?5522l\x1b[?9001l\x1b[?1l\x1b[?66l\x1b[2;4;20l\x1b[12h" +
		"\x1b[?25h\x1b[<99u\x1b[>4;0m\x1b[0m"
	if s.titled {
		reset += popTitle
	}
	if s.alternate {
		return "\x1b[?1049l" + reset
	}
	return reset + "\r\n"
}
