// Package guest connects to a VM from the host: it speaks SSH over the sockets in the
// instance's runtime directory.
package guest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
)

// ErrLost is returned by Session.Wait when the connection was closed before the
// command exited.
var ErrLost = errors.New("lost the connection to the VM")

// ErrRejected is returned when the guest rejects a request of a Session.
var ErrRejected = errors.New("the guest rejected the request")

// Client is one SSH connection. It uses one port of the VM until it is closed.
type Client struct{ *ssh.Client }

// Begin sends the begin request, which turns a booted guest into an instance.
func (c *Client) Begin(b contract.Begin) error {
	ch, requests, err := c.OpenChannel(contract.BeginChannel, nil)
	if err != nil {
		return err
	}
	defer ch.Close()
	go ssh.DiscardRequests(requests)
	if err = json.NewEncoder(ch).Encode(b); err == nil {
		err = ch.CloseWrite()
	}
	var answer contract.BeginReply
	if err == nil {
		err = json.NewDecoder(ch).Decode(&answer)
	}
	if err != nil {
		return fmt.Errorf("talk to the guest: %w", err)
	}
	if answer.Error != "" {
		return errors.New("in the guest: " + answer.Error)
	}
	return nil
}

// Session is a channel to a command or to Claude. Read returns its standard output, Write
// writes to its standard input, and Stderr returns its standard error.
type Session struct {
	ssh.Channel
	done   chan struct{}
	status int // -1 until known
}

// Size is the size of a terminal in characters.
type Size struct{ Columns, Rows int }

// Open opens a channel, with a terminal of type term unless size is nil.
func (c *Client) Open(term string, size *Size) (*Session, error) {
	ch, requests, err := c.OpenChannel("session", nil)
	if err != nil {
		return nil, err
	}
	s := &Session{Channel: ch, done: make(chan struct{}), status: -1}
	go s.handleRequests(requests)
	if size == nil {
		return s, nil
	}
	err = s.request("pty-req", ssh.Marshal(struct {
		Term                         string
		Columns, Rows, Width, Height uint32
		Modes                        string
	}{term, uint32(size.Columns), uint32(size.Rows), 0, 0, ""}))
	if err != nil {
		ch.Close()
		return nil, err
	}
	return s, nil
}

func (s *Session) handleRequests(requests <-chan *ssh.Request) {
	defer close(s.done)
	for r := range requests {
		var p struct{ Status uint32 }
		if r.Type == "exit-status" && ssh.Unmarshal(r.Payload, &p) == nil {
			s.status = int(p.Status)
		}
		if r.WantReply {
			r.Reply(false, nil)
		}
	}
}

func (s *Session) request(kind string, payload []byte) error {
	ok, err := s.SendRequest(kind, true, payload)
	if err == nil && !ok {
		err = ErrRejected
	}
	return err
}

// Claude attaches to Claude's terminal or streams.
func (s *Session) Claude() error {
	return s.request("subsystem", ssh.Marshal(struct{ Name string }{contract.SessionSubsystem}))
}

// Run starts a command line in the guest's shell, or a login shell if line is empty.
func (s *Session) Run(line string) error {
	if line == "" {
		return s.request("shell", nil)
	}
	return s.request("exec", ssh.Marshal(struct{ Line string }{line}))
}

// Resize sends the terminal's new size.
func (s *Session) Resize(size Size) error {
	_, err := s.SendRequest("window-change", false,
		ssh.Marshal(struct{ Columns, Rows, Width, Height uint32 }{uint32(size.Columns), uint32(size.Rows), 0, 0}))
	return err
}

// Signal sends a signal to the command. The name has no SIG prefix.
func (s *Session) Signal(name string) error {
	_, err := s.SendRequest("signal", false, ssh.Marshal(struct{ Name string }{name}))
	return err
}

// Wait waits for the command to exit and returns its exit status. Read both streams to
// their end first.
func (s *Session) Wait() (int, error) {
	<-s.done
	if s.status < 0 {
		return 0, ErrLost
	}
	return s.status, nil
}

// Copy copies from stdin and to stdout and stderr until the command exits, and returns
// its exit status. A nil stdin is empty.
func (s *Session) Copy(stdin io.Reader, stdout, stderr io.Writer) (int, error) {
	go func() {
		if stdin != nil {
			io.Copy(s, stdin)
		}
		s.CloseWrite()
	}()
	failed := make(chan error, 2)
	go func() {
		_, err := io.Copy(stderr, s.Stderr())
		failed <- err
	}()
	go func() {
		_, err := io.Copy(stdout, s)
		failed <- err
	}()
	for range 2 {
		if err := <-failed; err != nil {
			s.Close() // the reader of our output is gone: make the command exit
			return 0, err
		}
	}
	return s.Wait()
}

// Show copies the terminal's output to w until the command exits, and returns its exit
// status.
func (s *Session) Show(w io.Writer) (int, error) {
	if _, err := io.Copy(w, s); err != nil {
		s.Close()
		return 0, err
	}
	return s.Wait()
}

// ReadStatus returns what the guest has reported so far to QEMU, which writes a file in the
// runtime directory dir. QEMU may be controlled by the guest, so the file can be anything.
func ReadStatus(dir string) contract.Status {
	f, err := os.OpenFile(filepath.Join(dir, contract.StatusFile), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return contract.Status{}
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return contract.Status{}
	}
	return contract.ParseStatus(f)
}
