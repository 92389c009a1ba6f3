// Package guest is the host's end of the SSH connections into a VM, over the
// sockets in the instance's runtime directory.
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
	"github.com/t0mpr1c3/claude-microvm/internal/vport"
	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
)

// ErrBusy says that all ports of a VM are in use.
var ErrBusy = fmt.Errorf("all %d connections into the VM are in use", contract.SSHPorts)

// ErrLost is returned by Session.Wait when the connection ended before the
// command did.
var ErrLost = errors.New("the connection into the VM was lost")

// ErrRefused says that the guest will not do what was asked of a Session.
var ErrRefused = errors.New("the guest refuses")

// Client is one connection. It holds one port of the VM.
type Client struct{ *ssh.Client }

// Dial connects to the VM whose runtime directory is dir, as a user of the
// guest. It fails with an error that is os.ErrNotExist when there is no VM, and
// waits for the guest's answer until ctx is done.
func Dial(ctx context.Context, dir, user string) (*Client, error) {
	conn, err := DialRaw(ctx, dir)
	if err != nil {
		return nil, err
	}
	client, err := handshake(ctx, conn, user)
	if err != nil {
		conn.Close()
		return nil, err
	}
	return &Client{client}, nil
}

// DialRaw is Dial for somebody who speaks SSH himself: the guest says its version
// next.
func DialRaw(ctx context.Context, dir string) (net.Conn, error) {
	// A UNIX socket's address has 107 bytes; dir alone may have more.
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	short := fmt.Sprintf("/proc/self/fd/%d", d.Fd())
	for i := range contract.SSHPorts {
		lock, err := take(filepath.Join(short, contract.SSHLock(i)))
		if errors.Is(err, unix.EWOULDBLOCK) {
			continue
		}
		if err != nil {
			return nil, err
		}
		conn, err := open(ctx, filepath.Join(short, contract.SSHSocket(i)))
		if err != nil {
			lock.Close()
			return nil, err
		}
		return &port{conn, lock}, nil
	}
	return nil, ErrBusy
}

// port is a connection that frees its port at its end.
type port struct {
	net.Conn
	lock *os.File
}

func (p *port) Close() error { return errors.Join(p.Conn.Close(), p.lock.Close()) }

// take locks a port. QEMU would accept a second client of one port and then
// leave it waiting without a word.
func take(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func open(ctx context.Context, path string) (net.Conn, error) {
	var dialer net.Dialer
	raw, err := dialer.DialContext(ctx, "unix", path)
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
		// The socket is in a directory of the user's own: whoever could
		// replace the guest there could as well replace this program.
		HostKeyCallback: ssh.InsecureIgnoreHostKey(),
	})
	if err != nil {
		return nil, fmt.Errorf("talk to the guest: %w", cmp.Or(context.Cause(ctx), err))
	}
	return ssh.NewClient(c, channels, requests), nil
}

// Begin sends the request that makes an instance out of the guest.
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
	var answer contract.Begun
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

// Session is a command, or Claude, at the other end of a channel. Its Read and
// Write are the standard output and input, Stderr the third stream.
type Session struct {
	ssh.Channel
	done   chan struct{}
	status int // -1 until known
}

// Size is a terminal's, in characters.
type Size struct{ Columns, Rows int }

// Open opens a channel, on a terminal if size is given.
func (c *Client) Open(term string, size *Size) (*Session, error) {
	ch, requests, err := c.OpenChannel("session", nil)
	if err != nil {
		return nil, err
	}
	s := &Session{Channel: ch, done: make(chan struct{}), status: -1}
	go s.follow(requests)
	if size == nil {
		return s, nil
	}
	err = s.ask("pty-req", ssh.Marshal(struct {
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

func (s *Session) follow(requests <-chan *ssh.Request) {
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

func (s *Session) ask(kind string, payload []byte) error {
	ok, err := s.SendRequest(kind, true, payload)
	if err == nil && !ok {
		err = ErrRefused
	}
	return err
}

// Claude attaches to Claude's terminal or streams.
func (s *Session) Claude() error {
	return s.ask("subsystem", ssh.Marshal(struct{ Name string }{contract.SessionSubsystem}))
}

// Run starts a command line of the guest's shell; a login shell if it is empty.
func (s *Session) Run(line string) error {
	if line == "" {
		return s.ask("shell", nil)
	}
	return s.ask("exec", ssh.Marshal(struct{ Line string }{line}))
}

// Resize tells the terminal's new size.
func (s *Session) Resize(size Size) error {
	_, err := s.SendRequest("window-change", false,
		ssh.Marshal(struct{ Columns, Rows, Width, Height uint32 }{uint32(size.Columns), uint32(size.Rows), 0, 0}))
	return err
}

// Signal sends a signal, by its name without SIG, to the command.
func (s *Session) Signal(name string) error {
	_, err := s.SendRequest("signal", false, ssh.Marshal(struct{ Name string }{name}))
	return err
}

// Wait returns the exit status, after the streams have been read to their end.
func (s *Session) Wait() (int, error) {
	<-s.done
	if s.status < 0 {
		return 0, ErrLost
	}
	return s.status, nil
}

// Copy joins the streams to the session's and waits for its end. A nil stdin
// is an empty one.
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
			s.Close() // a reader of ours is gone: the command shall know
			return 0, err
		}
	}
	return s.Wait()
}

// dialTimeout is longer than a guest under load needs.
const dialTimeout = 20 * time.Second

// WithTimeout bounds Dial to a guest that is known to be up.
func WithTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, dialTimeout, fmt.Errorf("no word in %v", dialTimeout))
}

// Show copies a terminal's output to w and waits for the session's end.
func (s *Session) Show(w io.Writer) (int, error) {
	if _, err := io.Copy(w, s); err != nil {
		s.Close()
		return 0, err
	}
	return s.Wait()
}
