package guest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"github.com/t0mpr1c3/claude-microvm/internal/unixsocket"
	"github.com/t0mpr1c3/claude-microvm/internal/vport"
	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
)

// ErrBusy is returned by Dial when all ports of a VM are in use.
var ErrBusy = fmt.Errorf("all %d connections to the VM are in use", contract.SSHPorts)

// attempts is how often Dial connects. A guest under load may take a new connection for the
// previous one, which has hung up, and close it.
const attempts = 3

// Dial connects to the VM with the runtime directory dir, as a user of the guest, and
// waits for the guest's answer until ctx is done. If there is no VM, the error is
// os.ErrNotExist.
func Dial(ctx context.Context, dir, user string) (*Client, error) {
	return dial(ctx, dir, user, fromFirst)
}

// DialLast is like Dial but uses the last free port, for connections that no user has asked for.
func DialLast(ctx context.Context, dir, user string) (*Client, error) {
	return dial(ctx, dir, user, fromLast)
}

// The orders in which ports are tried: the number of the n-th.
func fromFirst(n int) int { return n }
func fromLast(n int) int  { return contract.SSHPorts - 1 - n }

func dial(ctx context.Context, dir, user string, nth func(n int) int) (*Client, error) {
	var failed error
	for range attempts {
		conn, err := dialFree(ctx, dir, nth)
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
	return dialFree(ctx, dir, fromFirst)
}

// dialFree connects to the first port in an order that is free.
func dialFree(ctx context.Context, dir string, nth func(n int) int) (net.Conn, error) {
	for n := range contract.SSHPorts {
		i := nth(n)
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

// dialTimeout is longer than a guest takes to answer under load.
const dialTimeout = time.Minute

// WithTimeout returns a context for Dial to a guest that has booted.
func WithTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, dialTimeout, fmt.Errorf("timed out after %v", dialTimeout))
}
