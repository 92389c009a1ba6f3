package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"
	"github.com/charmbracelet/x/vt"
	"github.com/creack/pty"
)

// screen keeps the contents of a terminal's screen, to show it to clients that attach
// later. Callers must hold the terminal's lock.
type screen struct {
	emulator *vt.Emulator
	modes    map[int]bool // the redrawModes that the program has set (true) or reset
	keyboard []int        // stack of kitty keyboard protocol flags
	title    string
	answers  chan []byte

	modifyOtherKeys int // the level of xterm's resource modifyOtherKeys
}

// redrawModes are the DEC private modes that a redraw sets, so that the client's terminal
// sends keys and mouse events as the program expects: 1 cursor keys, 7 wrap, 25 cursor
// visible, 1000 to 1006 mouse and focus, 2004 bracketed paste, 2031 color scheme changes.
var redrawModes = []int{1, 7, 25, 1000, 1002, 1003, 1004, 1006, 2004, 2031}

// onByDefault are the modes in redrawModes that are set in a new terminal.
var onByDefault = []int{7, 25}

// Limits of what a screen keeps, because programs that are not trusted write to it. A cell
// takes about 100 bytes, and can also have a link and a long cluster of combining
// characters. With these limits, both screens need less than 300 MB at worst.
const (
	maxColumns, maxRows = 640, 320 // more than a terminal on an 8K monitor
	maxLink             = 256      // bytes of a link; longer ones are not kept
	maxTitle            = 1024     // bytes of a title
	maxCluster          = 256      // bytes of a cluster
)

// windowSize limits the size of a terminal. If it is zero, as on a serial line, windowSize
// returns the size of a VT100.
func windowSize(columns, rows uint32) pty.Winsize {
	if columns == 0 || rows == 0 {
		columns, rows = 80, 24
	}
	return pty.Winsize{Cols: uint16(min(columns, maxColumns)), Rows: uint16(min(rows, maxRows))}
}

// newScreen returns an empty screen. It calls answer with the replies to the program's
// queries about its terminal.
func newScreen(columns, rows int, answer func([]byte)) *screen {
	s := &screen{emulator: newEmulator(columns, rows), modes: map[int]bool{}, answers: make(chan []byte, 64)}
	s.listen()
	go func() {
		for reply := range s.answers {
			answer(reply)
		}
	}()
	return s
}

func newEmulator(columns, rows int) *vt.Emulator {
	e := vt.NewEmulator(columns, rows)
	e.SetScrollbackSize(1) // a redraw has only the screen; 0 stands for 10000 lines
	// Handlers that are registered later are called first.
	e.RegisterOscHandler(8, func(data []byte) bool { return len(data) > maxLink })
	return e
}

// listen registers the emulator's callbacks and starts to read its answers.
func (s *screen) listen() {
	s.emulator.SetCallbacks(vt.Callbacks{
		Title:       func(title string) { s.title = strings.ToValidUTF8(title[:min(len(title), maxTitle)], "") },
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
			s.modifyOtherKeys, _, _ = p.Param(1, 0)
		}
		return true
	})
	go s.drainAnswers(s.emulator)
}

// drainAnswers reads the emulator's answers. The emulator's Write blocks until they are
// read, and its caller holds the terminal's lock, so drainAnswers must not take the lock.
func (s *screen) drainAnswers(e *vt.Emulator) {
	for {
		buf := make([]byte, 256)
		n, err := e.Read(buf)
		if err != nil {
			return
		}
		select {
		case s.answers <- buf[:n]:
		default: // drop it: the program does not read its answers
		}
	}
}

func (s *screen) mode(m ansi.Mode, on bool) {
	if d, ok := m.(ansi.DECMode); ok && slices.Contains(redrawModes, d.Mode()) {
		s.modes[d.Mode()] = on
	}
}

// guard calls f, which uses the emulator. The emulator is complex and its input is not
// trusted: if it panics, guard replaces it with an empty one.
func (s *screen) guard(f func()) {
	defer func() {
		if recover() != nil {
			s.emulator = newEmulator(s.emulator.Width(), s.emulator.Height())
			s.listen()
		}
	}()
	f()
}

// write adds the program's output.
func (s *screen) write(p []byte) {
	s.guard(func() {
		for len(p) > 0 {
			n := clusterEnd(p)
			s.emulator.Write(p[:n])
			p = p[n:]
		}
	})
}

// clusterEnd returns how many bytes to write to the emulator at once. The emulator keeps a
// cluster of combining characters of any length in one cell, but a cluster ends with a call
// of Write. So clusterEnd limits the bytes after the last ASCII character, which is never
// part of a longer cluster.
func clusterEnd(p []byte) int {
	run := 0
	for i, b := range p {
		switch {
		case b < utf8.RuneSelf:
			run = 0
		case run >= maxCluster && utf8.RuneStart(b):
			return i
		default:
			run++
		}
	}
	return len(p)
}

func (s *screen) resize(columns, rows int) { s.guard(func() { s.emulator.Resize(columns, rows) }) }

// redraw writes the sequences that reproduce the screen on a terminal of the same size.
func (s *screen) redraw(w io.Writer) error {
	var b strings.Builder
	s.guard(func() { s.compose(&b) })
	_, err := io.WriteString(w, b.String())
	return err
}

// lastLines returns up to n lines of text at the end of the screen, without empty ones.
func (s *screen) lastLines(n int) []string {
	var lines []string
	s.guard(func() {
		for line := range strings.Lines(s.emulator.String()) {
			if line = strings.TrimSpace(strings.Map(printable, line)); line != "" {
				lines = append(lines, line)
			}
		}
	})
	return lines[max(0, len(lines)-n):]
}

// compose writes what redraw sends. It is called by guard.
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
	if s.modifyOtherKeys != 0 {
		fmt.Fprintf(b, "\x1b[>4;%dm", s.modifyOtherKeys)
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
