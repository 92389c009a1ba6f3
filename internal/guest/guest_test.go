package guest

import (
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"net"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"github.com/t0mpr1c3/claude-microvm/internal/relay"
	"github.com/t0mpr1c3/claude-microvm/internal/vport"
	"golang.org/x/crypto/ssh"
)

// TestNoAnswer checks the errors of Dial when a guest does not answer, or stops answering,
// until the caller's context is canceled.
func TestNoAnswer(t *testing.T) {
	for want, guest := range map[string]func(conn *net.UnixConn, received func()){
		"the guest does not answer: timed out": func(conn *net.UnixConn, received func()) {
			conn.Read(make([]byte, 100))
			received()
		},
		"talk to the guest: timed out": func(conn *net.UnixConn, received func()) {
			servePort(conn, func(c net.Conn) {
				c.Read(make([]byte, 100))
				received()
			})
		},
		"connect to the guest: EOF": func(conn *net.UnixConn, _ func()) {
			conn.Read(make([]byte, 100))
			conn.CloseWrite()
		},
		"talk to the guest: ssh: handshake failed: EOF": func(conn *net.UnixConn, _ func()) {
			servePort(conn, func(c net.Conn) {
				io.WriteString(c, "SSH-2.0-guest\r\n")
				c.Close()
			})
		},
	} {
		ctx, cancel := context.WithCancelCause(t.Context())
		dir := serve(t, func(conn *net.UnixConn) { guest(conn, func() { cancel(errors.New("timed out")) }) })
		if _, err := Dial(ctx, dir, contract.UserClaude); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
		cancel(nil)
	}
}

// TestClosedConnection checks that Dial connects again when the guest closes its connection.
func TestClosedConnection(t *testing.T) {
	var closed atomic.Bool
	dir := serveSSH(t, func(<-chan ssh.NewChannel) {})
	first := serve(t, func(conn *net.UnixConn) {
		if closed.CompareAndSwap(false, true) {
			servePort(conn, func(c net.Conn) { c.Close() })
			return
		}
		host, err := net.Dial("unix", filepath.Join(dir, contract.SSHSocket(0)))
		if err != nil {
			t.Error(err)
			return
		}
		relay.Join(conn, host.(*net.UnixConn))
	})
	c, err := Dial(t.Context(), first, contract.UserClaude)
	if err != nil || !closed.Load() {
		t.Fatalf("%v, closed: %v", err, closed.Load())
	}
	c.Close()
}

// serve creates a runtime directory with one port that is connected to a guest until the
// test ends.
func serve(t *testing.T, guest func(conn *net.UnixConn)) (dir string) {
	t.Helper()
	dir = t.TempDir()
	l, err := net.Listen("unix", filepath.Join(dir, contract.SSHSocket(0)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { conn.Close() })
			go guest(conn.(*net.UnixConn))
		}
	}()
	return dir
}

// servePort serves a port as the guest's agent does, until the host closes it.
func servePort(conn *net.UnixConn, handle func(net.Conn)) {
	if port, err := conn.File(); err == nil {
		defer port.Close()
		vport.Serve(port, handle)
	}
}

// serveSSH is like serve, with a guest that speaks SSH.
func serveSSH(t *testing.T, handle func(channels <-chan ssh.NewChannel)) (dir string) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	config := &ssh.ServerConfig{NoClientAuth: true}
	config.AddHostKey(signer)
	return serve(t, func(conn *net.UnixConn) {
		servePort(conn, func(c net.Conn) {
			_, channels, requests, err := ssh.NewServerConn(c, config)
			if err != nil {
				return
			}
			go ssh.DiscardRequests(requests)
			handle(channels)
		})
	})
}

// TestWithin checks that requests end with ctx when a guest speaks SSH but answers none of them.
func TestWithin(t *testing.T) {
	asked := make(chan struct{})
	dir := serveSSH(t, func(channels <-chan ssh.NewChannel) {
		<-channels
		close(asked)
		select {}
	})
	c, err := Dial(t.Context(), dir, contract.UserClaude)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-asked
		cancel()
	}()
	err = c.Within(ctx, func() error {
		_, err := c.Open("", nil)
		return err
	})
	if !errors.Is(err, ErrSilent) || err.Error() != "the guest does not answer: context canceled" {
		t.Errorf("%v", err)
	}
	want := errors.New("other")
	if err := c.Within(t.Context(), func() error { return want }); err != want {
		t.Errorf("%v, want %v", err, want)
	}
}

// TestRejections checks the errors when a guest speaks SSH but rejects all requests.
func TestRejections(t *testing.T) {
	answers := []string{"", `{"error": "no such mount"}`}
	dir := serveSSH(t, func(channels <-chan ssh.NewChannel) {
		for offered := range channels {
			ch, requests, err := offered.Accept()
			if err != nil {
				return
			}
			go ssh.DiscardRequests(requests) // rejects all
			if offered.ChannelType() == contract.BeginChannel {
				io.Copy(io.Discard, ch)
				io.WriteString(ch, answers[0])
				answers = answers[1:]
				ch.Close()
			}
		}
	})
	c, err := Dial(t.Context(), dir, contract.UserRoot)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	agent, err := net.Listen("unix", filepath.Join(dir, "agent"))
	if err != nil {
		t.Fatal(err)
	}
	defer agent.Close()
	s, err := c.Open("", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		want string
		err  error
	}{
		{"talk to the guest: EOF", c.Begin(contract.Begin{})},
		{"in the guest: no such mount", c.Begin(contract.Begin{})},
		{"the guest rejected the request", s.Claude()},
		{"the guest rejected the request", s.Run("true")},
		{"SSH agent: the guest rejected the request", c.ProvideAgent(agent.Addr().String())},
	} {
		if step.err == nil || step.err.Error() != step.want {
			t.Errorf("%v, want %s", step.err, step.want)
		}
	}
}

// TestBusy checks that Dial does not use ports that are locked.
func TestBusy(t *testing.T) {
	dir := t.TempDir()
	for i := range contract.SSHPorts {
		lock, err := lockPort(dir, contract.SSHLock(i))
		if err != nil {
			t.Fatal(err)
		}
		defer lock.Close()
	}
	_, err := Dial(t.Context(), dir, contract.UserClaude)
	if want := "all 16 connections to the VM are in use"; !errors.Is(err, ErrBusy) || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}
