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

// This file forwards SSH agents of the host into the guest: connections to a socket in the
// guest become SSH channels of the type auth-agent@openssh.com. A socket exists only on
// request: hostAgent for ForwardAgent=yes, and client.forwardAgent for "ssh -A". In this
// file, "agent" means an SSH agent, not this program.

// agentChannel and agentRequest are names of the OpenSSH protocol, see PROTOCOL.agent.
const (
	agentChannel = "auth-agent@openssh.com"
	agentRequest = "auth-agent-req@openssh.com"
)

// listenAgent listens on a socket that only the named user and root can open.
func listenAgent(r *root, path, userName string) (net.Listener, error) {
	var o owner
	err := r.do(func() (err error) {
		o, err = lookupOwner(userName)
		return err
	})
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

// relayAgent connects each client of the socket to a new channel from open.
func relayAgent(l net.Listener, open func() (ssh.Channel, <-chan *ssh.Request, error)) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return // closed
		}
		go func() {
			ch, requests, err := open()
			if err != nil {
				log.Printf("connect to the host's SSH agent: %v", err)
				conn.Close()
				return
			}
			go ssh.DiscardRequests(requests)
			relay.Join(ch, conn.(*net.UnixConn))
		}()
	}
}

// forwardAgent creates a socket for one command whose client forwards its agent.
func (c *client) forwardAgent(s *session) error {
	switch {
	case s == nil:
		return errors.New("the guest waits for begin")
	case c.closeAgent != nil:
		return errors.New("requested twice on one channel")
	}
	dir, err := os.MkdirTemp(runtimeDir, "ssh-")
	if err != nil {
		return err
	}
	path := filepath.Join(dir, "agent")
	l, err := listenAgent(s.root, path, c.user)
	if err == nil {
		err = os.Chmod(dir, 0o711) // MkdirTemp uses 0700
	}
	if err != nil {
		os.RemoveAll(dir)
		return err
	}
	c.closeAgent = func() {
		l.Close()
		os.RemoveAll(dir)
	}
	c.env["SSH_AUTH_SOCK"] = path
	go relayAgent(l, func() (ssh.Channel, <-chan *ssh.Request, error) { return c.conn.OpenChannel(agentChannel, nil) })
	return nil
}

// hostAgent forwards the host's SSH agent to Claude and all shells. It is created before
// a client on the host provides the agent.
type hostAgent struct {
	mu      sync.Mutex
	changed *sync.Cond
	conn    ssh.Conn // provides the agent; nil if no client does
}

// agentTimeout is how long a connection waits for the host's client, which connects a
// moment after Claude starts, and again when its unit is restarted.
const agentTimeout = 10 * time.Second

// hostAgentSocket is $SSH_AUTH_SOCK of Claude and all shells if the host's agent is
// forwarded.
const hostAgentSocket = runtimeDir + "/ssh-agent"

// newHostAgent creates the socket and starts to serve it.
func newHostAgent(r *root) (*hostAgent, error) {
	l, err := listenAgent(r, hostAgentSocket, contract.UserClaude)
	if err != nil {
		return nil, fmt.Errorf("socket for the SSH agent: %w", err)
	}
	h := &hostAgent{}
	h.changed = sync.NewCond(&h.mu)
	go relayAgent(l, h.open)
	return h, nil
}

// open opens a channel to the host's SSH agent. It waits up to agentTimeout for a client
// that provides it.
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
		return nil, nil, errors.New("claude-vm-ssh-agent@.service on the host is not connected")
	}
	return conn.OpenChannel(agentChannel, nil)
}

// provide uses a client's connection to reach the host's agent until the client exits.
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
