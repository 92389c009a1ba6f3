package main

import (
	"context"
	"io"
	"os"
	"os/signal"

	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/guest"
	"github.com/t0mpr1c3/claude-microvm/internal/terminal"
	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// attach connects the standard streams to Claude's terminal or standard streams.
func attach(ctx context.Context, out *output, client *guest.Client, tty bool) (int, error) {
	if !tty {
		return attachPipes(ctx, out, client)
	}
	return onTerminal(ctx, out, client, (*guest.Session).Claude, true)
}

func attachPipes(ctx context.Context, out *output, client *guest.Client) (int, error) {
	s, err := openPipes(ctx, client, (*guest.Session).Claude)
	if err != nil {
		return 0, err
	}
	if term.IsTerminal(int(out.stdin.Fd())) {
		// Only the output is redirected. Claude would wait for the end of its input.
		return onPipes(out, s, nil)
	}
	return onPipes(out, s, out.stdin)
}

// openPipes opens a session without a terminal, and starts what start does.
func openPipes(ctx context.Context, client *guest.Client, start func(*guest.Session) error) (s *guest.Session, err error) {
	err = client.Within(ctx, func() error {
		if s, err = client.Open("", nil); err != nil {
			return err
		}
		return start(s)
	})
	return s, err
}

// maxSignals is the number of signals after which a client does not wait for the command in the guest any
// more. The first one is for the command; docker run leaves at the third, too.
const maxSignals = 3

// onPipes connects the standard streams to a session's and forwards signals.
func onPipes(out *output, s *guest.Session, stdin io.Reader) (int, error) {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT)
	defer signal.Stop(signals)
	type result struct {
		status int
		err    error
	}
	ended := make(chan result, 1)
	go func() {
		status, err := s.Copy(stdin, out.stream(out.stdout), out.stream(out.stderr))
		ended <- result{status, err}
	}()
	for n := 1; ; n++ {
		select {
		case r := <-ended:
			return r.status, r.err
		case sig := <-signals:
			if n == maxSignals {
				return 0, failure.New(failure.Interrupted, "", "interrupted; the command in the VM does not end")
			}
			go s.Signal(unix.SignalName(sig.(unix.Signal))[len("SIG"):]) // the guest may not read it
		}
	}
}

// onTerminal connects the terminal to a session until the session ends or, with leave,
// until the detach key is pressed.
func onTerminal(ctx context.Context, out *output, client *guest.Client, start func(*guest.Session) error, leave bool) (int, error) {
	fd := int(out.stdin.Fd())
	size, err := terminalSize(out)
	if err != nil {
		return 0, err
	}
	var s *guest.Session
	err = client.Within(ctx, func() (err error) {
		s, err = client.Open(os.Getenv("TERM"), &size)
		return err
	})
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
	screen := out.screen(out.stdout)
	typed := terminal.Read(out.stdin)
	defer func() {
		io.WriteString(out.stdout, screen.Reset())
		if screen.Asked() {
			terminal.Settle(out.stdout, typed)
		}
		unix.IoctlSetInt(fd, unix.TCFLSH, unix.TCIFLUSH)
		term.Restore(fd, saved)
		if screen.Denied() {
			out.note("a program in the VM tried to use the clipboard; to allow it, set Clipboard=yes in the .vm file or with --set")
		}
	}()
	if err := client.Within(ctx, func() error { return start(s) }); err != nil {
		return 0, err
	}
	go io.Copy(out.stream(out.stderr), s.Stderr()) // errors of the agent
	stop := followSize(out, s)
	defer stop()

	ended := make(chan error, 2)
	left := make(chan struct{})
	defer close(left)
	go func() {
		if err := forwardKeys(s, typed, leave, left); err != nil {
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
		err = terminal.ErrDetached
	}
	return status, err
}

// forwardKeys writes what is typed to w until left is closed or, with leave, the detach key
// is pressed.
func forwardKeys(w io.Writer, typed <-chan []byte, leave bool, left <-chan struct{}) error {
	keys := &terminal.Detacher{Enabled: leave}
	for {
		select {
		case p, ok := <-typed:
			if !ok {
				return nil
			}
			if _, err := keys.Write(p); err != nil {
				return err
			}
			if _, err := w.Write(p); err != nil {
				return err
			}
		case <-left:
			return nil
		}
	}
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
