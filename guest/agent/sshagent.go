package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"github.com/t0mpr1c3/claude-microvm/internal/relay"
	"golang.org/x/crypto/ssh"
)

// This file has the way from the guest to the SSH agent of the host's user: a
// socket here, a channel of the type auth-agent@openssh.com there. It exists only
// if it was asked for.

// agentChannel and agentRequest are OpenSSH's names, see its PROTOCOL.agent.
const (
	agentChannel = "auth-agent@openssh.com"
	agentRequest = "auth-agent-req@openssh.com"
)

// listenAgent listens on a socket that only a user of the guest, and its root, can
// open.
func listenAgent(path, userName string) (net.Listener, error) {
	o, err := lookupOwner(userName)
	if err != nil {
		return nil, err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(os.Chmod(path, 0o600), os.Chown(path, o.uid, o.gid)); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// relayAgent joins each client of the socket to a channel that open makes.
func relayAgent(l net.Listener, open func() (ssh.Channel, <-chan *ssh.Request, error)) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return // closed
		}
		go func() {
			ch, requests, err := open()
			if err != nil {
				log.Printf("SSH agent of the host: %v", err)
				conn.Close()
				return
			}
			go ssh.DiscardRequests(requests)
			relay.Join(ch, conn.(*net.UnixConn))
		}()
	}
}

// forwardAgent makes a socket for one command whose client has an agent.
func (c *client) forwardAgent() error {
	if c.agent != nil {
		return errors.New("asked for twice")
	}
	dir, err := os.MkdirTemp(runtimeDir, "ssh-")
	if err != nil {
		return err
	}
	path := filepath.Join(dir, "agent")
	l, err := listenAgent(path, c.user)
	if err == nil {
		err = os.Chmod(dir, 0o711) // MkdirTemp's are for root alone
	}
	if err != nil {
		os.RemoveAll(dir)
		return err
	}
	c.agent = func() {
		l.Close()
		os.RemoveAll(dir)
	}
	c.env["SSH_AUTH_SOCK"] = path
	go relayAgent(l, func() (ssh.Channel, <-chan *ssh.Request, error) { return c.conn.OpenChannel(agentChannel, nil) })
	return nil
}

// hostAgent is the way to the host's agent for Claude and all shells. It exists
// before the host's end of it does.
type hostAgent struct {
	mu      sync.Mutex
	changed *sync.Cond
	conn    ssh.Conn // nil while nobody offers it
}

// agentTimeout is how long a client waits for the host's end: at the start that
// comes a moment after Claude, and again when it was restarted.
const agentTimeout = 10 * time.Second

// hostAgentSocket is $SSH_AUTH_SOCK of Claude and all shells, if there is a way to
// the host's agent.
const hostAgentSocket = runtimeDir + "/ssh-agent"

// newHostAgent makes the socket.
func newHostAgent() (*hostAgent, error) {
	l, err := listenAgent(hostAgentSocket, contract.UserClaude)
	if err != nil {
		return nil, fmt.Errorf("socket for the SSH agent: %w", err)
	}
	h := &hostAgent{}
	h.changed = sync.NewCond(&h.mu)
	go relayAgent(l, h.open)
	return h, nil
}

func (h *hostAgent) open() (ssh.Channel, <-chan *ssh.Request, error) {
	deadline := time.Now().Add(agentTimeout)
	defer time.AfterFunc(agentTimeout, h.changed.Broadcast).Stop()
	h.mu.Lock()
	for h.conn == nil && time.Now().Before(deadline) {
		h.changed.Wait()
	}
	conn := h.conn
	h.mu.Unlock()
	if conn == nil {
		return nil, nil, errors.New("nobody on the host offers one")
	}
	return conn.OpenChannel(agentChannel, nil)
}

// provide makes a client's connection the way to the host's agent until it goes.
func (h *hostAgent) provide(c *client) {
	h.mu.Lock()
	h.conn = c.conn
	h.changed.Broadcast()
	h.mu.Unlock()
	<-c.gone
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.conn == c.conn {
		h.conn = nil
	}
}
