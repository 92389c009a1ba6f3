// Package guest connects to a VM from the host: it speaks SSH over the sockets in the
// instance's runtime directory.
package guest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"github.com/t0mpr1c3/claude-microvm/internal/unixsocket"
	"github.com/t0mpr1c3/claude-microvm/internal/vport"
	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
)

// ErrBusy is returned by Dial when all ports of a VM are in use.
var ErrBusy = fmt.Errorf("all %d connections to the VM are in use", contract.SSHPorts)

// ErrLost is returned by Session.Wait when the connection was closed before the
// command exited.
var ErrLost = errors.New("lost the connection to the VM")

// ErrRejected is returned when the guest rejects a request of a Session.
var ErrRejected = errors.New("the guest rejected the request")

// Client is one SSH connection. It uses one port of the VM until it is closed.
type Client struct{ *ssh.Client }

// attempts is how often Dial connects. A guest under load may take a new connection for the
// previous one, which has hung up, and close it.
const attempts = 3

// Dial connects to the VM with the runtime directory dir, as a user of the guest, and
// waits for the guest's answer until ctx is done. If there is no VM, the error is
// os.ErrNotExist.
func Dial(ctx context.Context, dir, user string) (*Client, error) {
	var failed error
	for range attempts {
		conn, err := DialRaw(ctx, dir)
		if err != nil {
			return nil, cmp.Or(failed, err)
		}
		client, err := handshake(ctx, conn, user)
		if err == nil {
			return &Client{client}, nil
		}
		conn.Close()
		if !errors.Is(err, io.EOF) {
			return nil, err
		}
		failed = err
	}
	return nil, failed
}

// DialRaw is like Dial but returns the connection before the SSH handshake, which starts
// with the guest's version string. It is for callers with their own SSH client.
func DialRaw(ctx context.Context, dir string) (net.Conn, error) {
	for i := range contract.SSHPorts {
		lock, err := lockPort(dir, contract.SSHLock(i))
		if errors.Is(err, unix.EWOULDBLOCK) {
			continue
		}
		if err != nil {
			return nil, err
		}
		conn, err := dialPort(ctx, dir, contract.SSHSocket(i))
		if err != nil {
			lock.Close()
			return nil, err
		}
		return &port{conn, lock}, nil
	}
	return nil, ErrBusy
}

// port is a connection that unlocks its port when it is closed.
type port struct {
	net.Conn
	lock *os.File
}

func (p *port) Close() error { return errors.Join(p.Conn.Close(), p.lock.Close()) }

// lockPort locks a port, or fails with EWOULDBLOCK. Without a lock, QEMU would accept the
// connection of a second client to a port and then never serve it.
func lockPort(dir, name string) (*os.File, error) {
	f, err := unixsocket.OpenLock(dir, name)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func dialPort(ctx context.Context, dir, name string) (net.Conn, error) {
	raw, err := unixsocket.Dial(ctx, dir, name)
	if err != nil {
		return nil, err
	}
	return vport.Client(ctx, raw)
}

func handshake(ctx context.Context, conn net.Conn, user string) (*ssh.Client, error) {
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	c, channels, requests, err := ssh.NewClientConn(conn, "guest", &ssh.ClientConfig{
		User: user,
		// The socket is in a directory that only the user can write: a process
		// that could replace the guest could replace this program as well.
		HostKeyCallback: ssh.InsecureIgnoreHostKey(),
	})
	if err != nil {
		return nil, fmt.Errorf("talk to the guest: %w", cmp.Or(context.Cause(ctx), err))
	}
	return ssh.NewClient(c, channels, requests), nil
}

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

// dialTimeout is longer than a guest takes to answer under load.
const dialTimeout = time.Minute

// WithTimeout returns a context for Dial to a guest that has booted.
func WithTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, dialTimeout, fmt.Errorf("timed out after %v", dialTimeout))
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
