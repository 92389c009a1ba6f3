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

// fakeChannel is a viewer's end: it takes what is written when it is let.
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

// collect takes a viewer's output until it contains text.
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

func TestFirstViewerHasEveryByte(t *testing.T) {
	term := startOnTerminal(t, `printf 'raw\033[?2026h'; sleep 1000`, true)
	defer term.process.end()
	time.Sleep(50 * time.Millisecond) // let it be early, most of the time
	c, f := newViewer(10)
	go term.attach(c)
	if got := collect(t, f, "\x1b[?2026h"); got != "raw\x1b[?2026h" {
		t.Errorf("got %q", got)
	}
	// The second is shown the screen.
	c, f = newViewer(10)
	go term.attach(c)
	if got := collect(t, f, "raw"); !strings.Contains(got, "\x1b[2J") {
		t.Errorf("no redraw: %q", got)
	}
}

// TestSlowestDoesNotHold: one who reads nothing neither stops the program nor
// the other, and is brought up to date when it reads again.
func TestSlowestDoesNotHold(t *testing.T) {
	term := startOnTerminal(t, `i=0; while [ $i -lt 200000 ]; do echo line-$i; i=$((i+1)); done; echo the-end; sleep 1000`, false)
	defer term.process.end()
	slow, stuck := newViewer(0)
	fast, reader := newViewer(0)
	go term.attach(slow)
	go term.attach(fast)
	collect(t, reader, "the-end")
	if got := collect(t, stuck, "the-end"); len(got) > 2*maxQueue {
		t.Errorf("the slow one was sent %d bytes", len(got))
	}
}

// TestAloneHolds: nothing is lost for a lone viewer, however slow.
func TestAloneHolds(t *testing.T) {
	term := startOnTerminal(t, `i=0; while [ $i -lt 100000 ]; do echo line-$i; i=$((i+1)); done; echo the-end`, true)
	c, f := newViewer(0)
	go term.attach(c)
	time.Sleep(300 * time.Millisecond)
	got := collect(t, f, "the-end")
	if n := strings.Count(got, "line-"); n != 100000 {
		t.Errorf("%d lines arrived", n)
	}
}

func TestSmallestViewerCounts(t *testing.T) {
	term := startOnTerminal(t, "sleep 1000", false)
	defer term.process.end()
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
