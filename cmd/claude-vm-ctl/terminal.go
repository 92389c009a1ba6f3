package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"time"

	"github.com/t0mpr1c3/claude-microvm/internal/guest"
	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

var errDetached = errors.New("detached")

// attach connects the standard streams to Claude's terminal or standard streams.
func attach(ctx context.Context, out *output, client *guest.Client, terminal bool) (int, error) {
	if !terminal {
		return attachPipes(out, client)
	}
	return onTerminal(ctx, out, client, (*guest.Session).Claude, true)
}

func attachPipes(out *output, client *guest.Client) (int, error) {
	s, err := client.Open("", nil)
	if err != nil {
		return 0, err
	}
	if err := s.Claude(); err != nil {
		return 0, err
	}
	if term.IsTerminal(int(out.stdin.Fd())) {
		// Only the output is redirected. Claude would wait for the end of its input.
		return onPipes(out, s, nil)
	}
	return onPipes(out, s, out.stdin)
}

// onPipes connects the standard streams to a session's and forwards signals.
func onPipes(out *output, s *guest.Session, stdin io.Reader) (int, error) {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT)
	defer signal.Stop(signals)
	go func() {
		for sig := range signals {
			s.Signal(unix.SignalName(sig.(unix.Signal))[len("SIG"):])
		}
	}()
	return s.Copy(stdin, out.stdout, out.stderr)
}

// onTerminal connects the terminal to a session until the session ends or, with leave,
// until the detach key is pressed.
func onTerminal(ctx context.Context, out *output, client *guest.Client, start func(*guest.Session) error, leave bool) (int, error) {
	fd := int(out.stdin.Fd())
	size, err := terminalSize(out)
	if err != nil {
		return 0, err
	}
	s, err := client.Open(os.Getenv("TERM"), &size)
	if err != nil {
		return 0, err
	}
	saved, err := term.MakeRaw(fd)
	if err != nil {
		return 0, err
	}
	if leave {
		// Discard what was typed while the VM started: it is not meant for Claude.
		unix.IoctlSetInt(fd, unix.TCFLSH, unix.TCIFLUSH)
	}
	screen := &altScreen{w: out.stdout}
	defer func() {
		io.WriteString(out.stdout, screen.reset())
		term.Restore(fd, saved)
	}()
	if err := start(s); err != nil {
		return 0, err
	}
	go io.Copy(out.stderr, s.Stderr()) // errors of the agent
	stop := followSize(out, s)
	defer stop()

	ended := make(chan error, 2)
	go func() {
		keys := &detacher{enabled: leave}
		_, err := io.Copy(s, io.TeeReader(out.stdin, keys))
		if keys.detached {
			err = errDetached
		}
		if err != nil {
			ended <- err
		}
	}()
	var status int
	go func() {
		var err error
		status, err = s.Show(screen)
		ended <- err
	}()
	select {
	case err = <-ended:
	case <-ctx.Done(): // SIGTERM, SIGHUP: the terminal closes, Claude keeps running
		err = errDetached
	}
	return status, err
}

func terminalSize(out *output) (guest.Size, error) {
	columns, rows, err := term.GetSize(int(out.stdout.Fd()))
	return guest.Size{Columns: columns, Rows: rows}, err
}

// followSize sends the guest every change of the terminal's size.
func followSize(out *output, s *guest.Session) (stop func()) {
	changes := make(chan os.Signal, 1)
	signal.Notify(changes, unix.SIGWINCH)
	go func() {
		for range changes {
			if size, err := terminalSize(out); err == nil {
				s.Resize(size)
			}
		}
	}()
	return func() {
		signal.Stop(changes)
		close(changes)
	}
}

// detacher watches the input for Ctrl-] three times within a second, the detach key of
// machinectl.
type detacher struct {
	enabled  bool
	detached bool
	count    int
	first    time.Time
}

// detachKeys are the encodings of Ctrl-]: plain, in the kitty keyboard protocol, and with
// xterm's modifyOtherKeys.
var detachKeys = [][]byte{{0x1d}, []byte("\x1b[93;5u"), []byte("\x1b[27;5;93~")}

func (d *detacher) Write(typed []byte) (int, error) {
	for rest := typed; d.enabled && len(rest) > 0; {
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
			d.detached = true
			return 0, errDetached
		}
	}
	return len(typed), nil
}

// altScreen copies output and remembers whether the program has switched to the alternate
// screen, so that reset can switch back.
type altScreen struct {
	w    io.Writer
	tail []byte // an escape sequence may be split over two writes
	on   bool
}

func (a *altScreen) Write(p []byte) (int, error) {
	a.tail = append(a.tail, p...)
	on := max(bytes.LastIndex(a.tail, []byte("\x1b[?1049h")), bytes.LastIndex(a.tail, []byte("\x1b[?47h")))
	off := max(bytes.LastIndex(a.tail, []byte("\x1b[?1049l")), bytes.LastIndex(a.tail, []byte("\x1b[?47l")))
	if on != off {
		a.on = on > off
	}
	a.tail = append(a.tail[:0], a.tail[max(0, len(a.tail)-7):]...)
	return a.w.Write(p)
}

// reset returns the escape sequences that undo what a program may leave when it is killed
// with its VM: scroll region, wrapping, keypad, character set, mouse and focus reports,
// bracketed paste, synchronised output, colour scheme reports, hidden cursor, keyboard
// protocols, attributes.
func (a *altScreen) reset() string {
	const modes = "\x1b7\x1b[r\x1b8\x1b[?7h\x1b>\x1b(B\x0f\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?1004l\x1b[?2004l\x1b[?2026l\x1b[?2031l\x1b[?1l" +
		"\x1b[?25h\x1b[<99u\x1b[>4;0m\x1b[0m"
	if a.on {
		return "\x1b[?1049l" + modes
	}
	return modes + "\r\n"
}
