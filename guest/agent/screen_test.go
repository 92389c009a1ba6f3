package main

import (
	"strings"
	"testing"

	"github.com/charmbracelet/x/vt"
)

// TestRedraw checks that a redraw reproduces the screen on a new terminal.
func TestRedraw(t *testing.T) {
	for name, output := range map[string]string{
		"text":         "hello\r\nworld",
		"colours":      "\x1b[1;38;5;208mbold\x1b[0m \x1b[48;2;1;2;3mtrue\x1b[m",
		"wide":         "漢字 é e\u0301 🙂\r\n|",
		"cursor":       "\x1b[5;7Hx\x1b[2;3H",
		"scrolled":     strings.Repeat("line\r\n", 30) + "last",
		"full line":    strings.Repeat("x", 40) + "\x1b[H",
		"alternate":    "below\x1b[?1049h\x1b[H\x1b[2Jabove",
		"left the alt": "below\x1b[?1049habove\x1b[?1049l",
	} {
		t.Run(name, func(t *testing.T) {
			s := newScreen(40, 10, func([]byte) {})
			s.write([]byte(output))
			var b appender
			if err := s.redraw(&b); err != nil {
				t.Fatal(err)
			}
			fresh := vt.NewEmulator(40, 10)
			fresh.Write(b)
			if got, want := fresh.String(), s.emulator.String(); got != want {
				t.Errorf("redrawn:\n%s\nwant:\n%s", got, want)
			}
			if got, want := fresh.CursorPosition(), s.emulator.CursorPosition(); got != want {
				t.Errorf("cursor at %v, want %v", got, want)
			}
			if fresh.IsAltScreen() != s.emulator.IsAltScreen() {
				t.Errorf("alternate screen: %v", fresh.IsAltScreen())
			}
		})
	}
}

func TestLastLines(t *testing.T) {
	s := newScreen(40, 10, func([]byte) {})
	s.write([]byte(strings.Repeat("old\r\n", 20) + "\r\n  \x1b[31mUnable to connect\x1b[0m\r\n\r\nCheck it\r\n"))
	if got := strings.Join(s.lastLines(3), "|"); got != "old|Unable to connect|Check it" {
		t.Errorf("last lines: %q", got)
	}
}

func TestRedrawSetsModes(t *testing.T) {
	s := newScreen(40, 10, func([]byte) {})
	s.write([]byte("\x1b[?2004h\x1b[?1004h\x1b[?1000h\x1b[?1000l\x1b[?25l\x1b[>1u\x1b[>5u\x1b[<u\x1b[>4;2m\x1b]2;a title\x07"))
	var b appender
	if err := s.redraw(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\x1b[?2004h", "\x1b[?1004h", "\x1b[?25l", "\x1b[>1u", "\x1b[>4;2m", "\x1b]2;a title\x1b\\"} {
		if !strings.Contains(string(b), want) {
			t.Errorf("no %q in the redraw", want)
		}
	}
	for _, bad := range []string{"\x1b[?1000", "\x1b[>5u"} {
		if strings.Contains(string(b), bad) {
			t.Errorf("%q in the redraw", bad)
		}
	}
}

// TestQueries checks that a program that queries its terminal and continues to write is
// not blocked until the answers are read.
func TestQueries(t *testing.T) {
	answers := make(chan string, 10)
	s := newScreen(40, 10, func(p []byte) { answers <- string(p) })
	s.write([]byte("\x1b[c\x1b[6n\x1b[c more"))
	if got := <-answers; !strings.HasPrefix(got, "\x1b[") {
		t.Errorf("answer %q", got)
	}
}

func FuzzScreen(f *testing.F) {
	f.Add([]byte("\x1b[?1049h\x1b[999;999H\x1b[10P漢"))
	f.Fuzz(func(t *testing.T, output []byte) {
		s := newScreen(20, 5, func([]byte) {})
		s.write(output)
		s.resize(7, 3)
		s.write(output)
		var b appender
		if err := s.redraw(&b); err != nil {
			t.Error(err)
		}
	})
}
