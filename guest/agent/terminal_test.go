package main

import (
	"bytes"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/crypto/ssh"
)

// fakeChannel is a viewer's SSH channel. Writes block until the test reads from got.
type fakeChannel struct {
	ssh.Channel
	got    chan []byte
	closed chan struct{}
}

func (f *fakeChannel) Write(p []byte) (int, error) {
	f.got <- bytes.Clone(p)
	return len(p), nil
}
func (f *fakeChannel) Read([]byte) (int, error)                       { <-f.closed; return 0, syscall.EIO }
func (f *fakeChannel) SendRequest(string, bool, []byte) (bool, error) { return true, nil }
func (f *fakeChannel) Close() error                                   { return nil }

func newViewer(queue int) (*client, *fakeChannel) {
	f := &fakeChannel{got: make(chan []byte, queue), closed: make(chan struct{})}
	return &client{Channel: f, resize: make(chan pty.Winsize, 1), gone: make(chan struct{})}, f
}

func startOnTerminal(t *testing.T, script string, keep bool) *terminal {
	t.Helper()
	size := &pty.Winsize{Rows: 10, Cols: 40}
	cmd := exec.Command("sh", "-c", script)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	p, err := start(cmd, size)
	if err != nil {
		t.Fatal(err)
	}
	return newTerminal(p, size, keep)
}

// collect reads a viewer's output until it contains text.
func collect(t *testing.T, f *fakeChannel, text string) string {
	t.Helper()
	var all []byte
	for {
		select {
		case p := <-f.got:
			if all = append(all, p...); strings.Contains(string(all), text) {
				return string(all)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("no %q in %q", text, tailOf(all))
		}
	}
}

func tailOf(p []byte) []byte { return p[max(0, len(p)-200):] }

func TestFirstViewerGetsAllOutput(t *testing.T) {
	term := startOnTerminal(t, `printf 'raw\033[?2026h'; sleep 1000`, true)
	defer term.process.stop()
	time.Sleep(50 * time.Millisecond) // usually the output comes before the viewer
	c, f := newViewer(10)
	go term.attach(c)
	if got := collect(t, f, "\x1b[?2026h"); got != "raw\x1b[?2026h" {
		t.Errorf("got %q", got)
	}
	// The second viewer gets a redraw.
	c, f = newViewer(10)
	go term.attach(c)
	if got := collect(t, f, "raw"); !strings.Contains(got, "\x1b[2J") {
		t.Errorf("no redraw: %q", got)
	}
}

// TestSlowViewerDoesNotBlock checks that a viewer that does not read blocks neither the
// program nor another viewer, and gets a redraw when it reads again.
func TestSlowViewerDoesNotBlock(t *testing.T) {
	term := startOnTerminal(t, `i=0; while [ $i -lt 200000 ]; do echo line-$i; i=$((i+1)); done; echo the-end; sleep 1000`, false)
	defer term.process.stop()
	slow, stuck := newViewer(0)
	fast, reader := newViewer(0)
	go term.attach(slow)
	go term.attach(fast)
	collect(t, reader, "the-end")
	if got := collect(t, stuck, "the-end"); len(got) > 2*maxQueue {
		t.Errorf("the slow viewer got %d bytes", len(got))
	}
}

// TestSingleViewerGetsAllOutput checks that a slow viewer loses no output if it is the only
// one.
func TestSingleViewerGetsAllOutput(t *testing.T) {
	term := startOnTerminal(t, `i=0; while [ $i -lt 100000 ]; do echo line-$i; i=$((i+1)); done; echo the-end`, true)
	c, f := newViewer(0)
	go term.attach(c)
	time.Sleep(300 * time.Millisecond)
	got := collect(t, f, "the-end")
	if n := strings.Count(got, "line-"); n != 100000 {
		t.Errorf("%d lines arrived", n)
	}
}

func TestSmallestViewerSetsSize(t *testing.T) {
	term := startOnTerminal(t, "sleep 1000", false)
	defer term.process.stop()
	wait := func(rows, columns uint16) {
		t.Helper()
		for range 200 {
			if size, err := pty.GetsizeFull(term.process.term); err == nil && size.Rows == rows && size.Cols == columns {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Errorf("the terminal is not %dx%d", columns, rows)
	}
	a, _ := newViewer(10)
	a.size = &pty.Winsize{Rows: 50, Cols: 70}
	go term.attach(a)
	wait(50, 70)
	b, _ := newViewer(10)
	b.size = &pty.Winsize{Rows: 30, Cols: 100}
	go term.attach(b)
	wait(30, 70)
	close(b.gone)
	wait(50, 70)
	a.resize <- pty.Winsize{Rows: 20, Cols: 60}
	wait(20, 60)
}
