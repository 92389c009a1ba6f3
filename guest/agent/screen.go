package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/charmbracelet/x/ansi"
	"github.com/charmbracelet/x/vt"
)

// screen follows what a terminal's screen shows, so that a person who attaches
// later sees it. Its methods are called under the terminal's lock.
type screen struct {
	emulator *vt.Emulator
	modes    map[int]bool // DEC private modes that differ from a fresh terminal
	keyboard []int        // stack of kitty keyboard protocol flags
	other    int          // xterm's modifyOtherKeys
	title    string
	answers  chan []byte
}

// redrawn are the modes that a redraw sets: keys and mouse reports must arrive
// as the program expects them. 1 cursor keys, 7 wrap, 25 cursor visible, 1000
// to 1006 mouse and focus, 2004 bracketed paste, 2031 changes of colour scheme.
var redrawn = []int{1, 7, 25, 1000, 1002, 1003, 1004, 1006, 2004, 2031}

// onByDefault are those of redrawn which a fresh terminal has set.
var onByDefault = []int{7, 25}

// newScreen makes an empty screen. Answers to the program's questions about its
// terminal are given to answer.
func newScreen(columns, rows int, answer func([]byte)) *screen {
	s := &screen{emulator: vt.NewEmulator(columns, rows), modes: map[int]bool{}, answers: make(chan []byte, 64)}
	s.listen()
	go func() {
		for reply := range s.answers {
			answer(reply)
		}
	}()
	return s
}

// listen follows what the emulator reports and drains its answers.
func (s *screen) listen() {
	s.emulator.SetCallbacks(vt.Callbacks{
		Title:       func(title string) { s.title = title },
		EnableMode:  func(m ansi.Mode) { s.mode(m, true) },
		DisableMode: func(m ansi.Mode) { s.mode(m, false) },
	})
	// https://sw.kovidgoyal.net/kitty/keyboard-protocol: CSI > flags u pushes,
	// CSI < n u pops.
	s.emulator.RegisterCsiHandler(ansi.Command('>', 0, 'u'), func(p ansi.Params) bool {
		flags, _, _ := p.Param(0, 0)
		s.keyboard = append(s.keyboard, flags)
		s.keyboard = s.keyboard[max(0, len(s.keyboard)-16):]
		return true
	})
	s.emulator.RegisterCsiHandler(ansi.Command('<', 0, 'u'), func(p ansi.Params) bool {
		n, _, _ := p.Param(0, 1)
		s.keyboard = s.keyboard[:max(0, len(s.keyboard)-max(n, 1))]
		return true
	})
	s.emulator.RegisterCsiHandler(ansi.Command('>', 0, 'm'), func(p ansi.Params) bool {
		if what, _, _ := p.Param(0, 0); what == 4 {
			s.other, _, _ = p.Param(1, 0)
		}
		return true
	})
	go s.drainAnswers(s.emulator)
}

// drainAnswers takes the emulator's answers as they come: it waits for that,
// with the terminal's lock held by whoever writes, so nothing here may wait for
// the lock.
func (s *screen) drainAnswers(e *vt.Emulator) {
	for {
		buf := make([]byte, 256)
		n, err := e.Read(buf)
		if err != nil {
			return
		}
		select {
		case s.answers <- buf[:n]:
		default: // nobody needs the answer to a question of long ago
		}
	}
}

func (s *screen) mode(m ansi.Mode, on bool) {
	if d, ok := m.(ansi.DECMode); ok && slices.Contains(redrawn, d.Mode()) {
		s.modes[d.Mode()] = on
	}
}

// guard runs f on the emulator, a large program fed with hostile input. Should
// it panic, the screen starts empty again.
func (s *screen) guard(f func()) {
	defer func() {
		if recover() != nil {
			s.emulator = vt.NewEmulator(s.emulator.Width(), s.emulator.Height())
			s.listen()
		}
	}()
	f()
}

// write follows the program's output.
func (s *screen) write(p []byte) { s.guard(func() { s.emulator.Write(p) }) }

func (s *screen) resize(columns, rows int) { s.guard(func() { s.emulator.Resize(columns, rows) }) }

// redraw writes what turns any terminal of the same size into this one.
func (s *screen) redraw(w io.Writer) error {
	var b strings.Builder
	s.guard(func() { s.compose(&b) })
	_, err := io.WriteString(w, b.String())
	return err
}

func (s *screen) compose(b *strings.Builder) {
	b.WriteString("\x1b[0m\x1b[r")
	if s.emulator.IsAltScreen() {
		b.WriteString("\x1b[?1049h")
	}
	b.WriteString("\x1b[H\x1b[2J")
	b.WriteString(strings.ReplaceAll(s.emulator.Render(), "\n", "\r\n"))
	b.WriteString("\x1b[0m")
	if s.title != "" {
		fmt.Fprintf(b, "\x1b]2;%s\x1b\\", strings.Map(printable, s.title))
	}
	for _, mode := range slices.Sorted(maps.Keys(s.modes)) {
		on := s.modes[mode]
		if on == slices.Contains(onByDefault, mode) {
			continue
		}
		fmt.Fprintf(b, "\x1b[?%d%c", mode, map[bool]rune{true: 'h', false: 'l'}[on])
	}
	for _, flags := range s.keyboard {
		fmt.Fprintf(b, "\x1b[>%du", flags)
	}
	if s.other != 0 {
		fmt.Fprintf(b, "\x1b[>4;%dm", s.other)
	}
	at := s.emulator.CursorPosition()
	fmt.Fprintf(b, "\x1b[%d;%dH", at.Y+1, at.X+1)
}

// printable drops control characters.
func printable(r rune) rune {
	if r < ' ' || r == 0x7f {
		return -1
	}
	return r
}
