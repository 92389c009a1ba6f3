package main

import (
	"bytes"
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"

	"github.com/creack/pty"
)

func TestWindowSize(t *testing.T) {
	for _, test := range []struct {
		columns, rows uint32
		want          pty.Winsize
	}{
		{0, 0, pty.Winsize{Cols: 80, Rows: 24}},
		{0, 50, pty.Winsize{Cols: 80, Rows: 24}},
		{1, 1, pty.Winsize{Cols: 1, Rows: 1}},
		{200, 50, pty.Winsize{Cols: 200, Rows: 50}},
		{65535, 65535, pty.Winsize{Cols: maxColumns, Rows: maxRows}},
		{65536, math.MaxUint32, pty.Winsize{Cols: maxColumns, Rows: maxRows}},
	} {
		if got := windowSize(test.columns, test.rows); got != test.want {
			t.Errorf("windowSize(%d, %d) = %v, want %v", test.columns, test.rows, got, test.want)
		}
	}
}

// TestScreenMemory writes what makes an emulator without limits keep all of its input.
func TestScreenMemory(t *testing.T) {
	const input = 20 << 20 // bytes, more than a screen may keep
	link := func(i int) string { return fmt.Sprintf("\x1b]8;;http://%d/%s\x1b\\x", i, strings.Repeat("a", 1<<20)) }
	for name, chunk := range map[string]func(i int) string{
		"one cluster":      func(int) string { return strings.Repeat("\u0301", 1<<15) },
		"a cluster a cell": func(int) string { return strings.Repeat("e"+strings.Repeat("\u0301", 1<<10), 16) },
		"joined":           func(int) string { return strings.Repeat("👩\u200d", 1<<13) },
		"scrollback":       func(int) string { return strings.Repeat(strings.Repeat("x", 79)+"\r\n", 400) },
		"links":            link,
		"a title":          func(int) string { return "\x1b]2;" + strings.Repeat("a", 1<<20) },
		"no end":           func(int) string { return "\x1b]8;;" + strings.Repeat("a", 1<<20) },
		"device control":   func(int) string { return "\x1bP" + strings.Repeat("a", 1<<20) },
		"modes":            func(i int) string { return strings.Repeat(fmt.Sprintf("\x1b[?%dh\x1b[>%du", i, i), 1<<12) },
	} {
		t.Run(name, func(t *testing.T) {
			before := heap()
			s := newScreen(80, 24, func([]byte) {})
			for written, i := 0, 0; written < input; i++ {
				text := chunk(i)
				s.write([]byte(text))
				written += len(text)
			}
			if got := heap() - before; got > 16<<20 {
				t.Errorf("the screen keeps %d bytes", got)
			}
			runtime.KeepAlive(s)
		})
	}
}

// heap returns the bytes of all objects in use.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestClusterEnd checks that text is split only in a long run of characters that are not
// ASCII, and only between characters.
func TestClusterEnd(t *testing.T) {
	for name, text := range map[string]string{
		"ASCII":      strings.Repeat("x", 10_000),
		"Chinese":    strings.Repeat("漢字 ", 10_000),
		"a family":   "👩\u200d👩\u200d👧\u200d👦",
		"long marks": "e" + strings.Repeat("\u0301", maxCluster/2-1),
	} {
		if got := clusterEnd([]byte(text)); got != len(text) {
			t.Errorf("%s: splits %d bytes at %d", name, len(text), got)
		}
	}
	text := []byte("e" + strings.Repeat("漢", maxCluster))
	n := clusterEnd(text)
	if n < maxCluster || n > maxCluster+4 || !bytes.HasPrefix(text[n:], []byte("漢")) {
		t.Errorf("splits at %d", n)
	}
}
