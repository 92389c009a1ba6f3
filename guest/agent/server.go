package main

import (
	"cmp"
	"io"
	"log"
	"net"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/creack/pty"
	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"golang.org/x/crypto/ssh"
)

// serve speaks SSH on one connection from the host.
func (a *agent) serve(raw net.Conn) {
	defer raw.Close()
	conn, channels, requests, err := ssh.NewServerConn(raw, a.config)
	if err != nil {
		log.Printf("%v: %v", raw.LocalAddr(), err)
		return
	}
	defer conn.Close()
	go ssh.DiscardRequests(requests)
	for offered := range channels {
		switch offered.ChannelType() {
		case "session":
			if ch, reqs, err := offered.Accept(); err == nil {
				go a.serveClient(conn, ch, reqs)
			}
		case "direct-tcpip":
			if a.current() == nil { // the network may not be up
				offered.Reject(ssh.Prohibited, "the guest waits for begin")
				continue
			}
			go serveForward(offered)
		case contract.BeginChannel:
			if ch, reqs, err := offered.Accept(); err == nil {
				go ssh.DiscardRequests(reqs)
				go a.serveBegin(ch)
			}
		case contract.ChangesChannel:
			if a.current() == nil {
				offered.Reject(ssh.Prohibited, "the guest waits for begin")
				continue
			}
			if ch, reqs, err := offered.Accept(); err == nil {
				go ssh.DiscardRequests(reqs)
				go a.serveChanges(ch)
			}
		default:
			offered.Reject(ssh.UnknownChannelType, "unknown channel type")
		}
	}
}

// client is one SSH channel of the type session, and what was requested on it so far. Only
// a client with the subsystem contract.SessionSubsystem attaches to Claude's session.
type client struct {
	ssh.Channel
	conn       ssh.Conn
	user       string
	env        map[string]string
	closeAgent func()       // stops forwarding its SSH agent; nil without one
	size       *pty.Winsize // nil without a terminal
	// Requests that arrive after the command has started.
	resize  chan pty.Winsize
	signals chan syscall.Signal
	gone    chan struct{} // closed when the host has closed the channel
}

// serveClient handles the requests on a session channel (RFC 4254 section 6): a terminal,
// variables and an agent first, then one shell, command or subsystem.
func (a *agent) serveClient(conn ssh.Conn, ch ssh.Channel, requests <-chan *ssh.Request) {
	c := &client{
		Channel: ch, conn: conn, user: conn.User(), env: map[string]string{},
		resize:  make(chan pty.Winsize, 1),
		signals: make(chan syscall.Signal, 8),
		gone:    make(chan struct{}),
	}
	defer func() {
		close(c.gone)
		if c.closeAgent != nil {
			c.closeAgent()
		}
	}()
	var started atomic.Bool
	for r := range requests {
		ok := true
		var run func()
		switch r.Type {
		case "pty-req":
			var p struct {
				Term                         string
				Columns, Rows, Width, Height uint32
				Modes                        string
			}
			if ok = ssh.Unmarshal(r.Payload, &p) == nil; ok {
				c.env["TERM"] = p.Term
				size := windowSize(p.Columns, p.Rows)
				c.size = &size
			}
		case "env":
			var p struct{ Name, Value string }
			if ok = ssh.Unmarshal(r.Payload, &p) == nil; ok {
				c.env[p.Name] = p.Value
			}
		case agentRequest:
			if err := c.forwardAgent(a.current()); err != nil {
				log.Printf("forward an SSH agent: %v", err)
				ok = false
			}
		case "window-change":
			ok = c.handleResize(r.Payload)
		case "signal":
			ok = c.handleSignal(r.Payload)
		case "shell", "exec", "subsystem":
			var p struct{ Text string }
			if r.Type != "shell" {
				ok = ssh.Unmarshal(r.Payload, &p) == nil
			}
			// Decide before the reply is sent, so that it reports a rejection: a client
			// need not read error messages from the channel.
			if ok = ok && started.CompareAndSwap(false, true); ok {
				run, ok = a.handler(c, r.Type, p.Text)
			}
		default:
			ok = false
		}
		if r.WantReply {
			r.Reply(ok, nil)
		}
		if ok && run != nil {
			go run()
		}
	}
}

// handleResize queues a new terminal size. It returns false if the request is invalid.
func (c *client) handleResize(payload []byte) bool {
	var p struct{ Columns, Rows, Width, Height uint32 }
	if ssh.Unmarshal(payload, &p) != nil {
		return false
	}
	size := windowSize(p.Columns, p.Rows)
	for {
		select {
		case c.resize <- size:
			return true
		case <-c.resize: // replace an older size
		}
	}
}

// handleSignal queues a signal. It returns false if the request is invalid.
func (c *client) handleSignal(payload []byte) bool {
	var p struct{ Name string }
	if ssh.Unmarshal(payload, &p) != nil {
		return false
	}
	sig, err := signalByName(p.Name)
	if err != nil {
		return false
	}
	select {
	case c.signals <- sig:
	default: // the queue is full: drop the signal
	}
	return true
}

// exit sends an exit status and closes the client's channel.
func (c *client) exit(status int) {
	c.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{uint32(status)}))
	c.Close()
}

// fail writes a reason to the client's standard error and exits with status 127.
func (c *client) fail(reason string) {
	io.WriteString(c.Stderr(), reason+"\r\n")
	c.exit(127)
}

// subsystems maps the names of SSH subsystems to programs.
var subsystems = map[string]string{"sftp": "/usr/lib/openssh/sftp-server"}

// handler returns the function that serves a shell, exec or subsystem request; ok is false
// if the request is rejected. text is the command or the name of the subsystem.
func (a *agent) handler(c *client, kind, text string) (run func(), ok bool) {
	s := a.current()
	switch {
	case s == nil:
		return nil, false
	case kind == "subsystem" && text == contract.SessionSubsystem:
		return func() { s.attach(c) }, s.claim()
	case kind == "subsystem" && text == contract.AgentSubsystem:
		return func() { a.hostAgent.provide(c) }, a.hostAgent != nil
	case c.user != contract.UserClaude && c.user != contract.UserRoot:
		return nil, false
	case kind == "subsystem":
		program := subsystems[text]
		return func() { a.runCommand(c, s, s.root.program(program)) }, program != ""
	case kind == "shell":
		return func() { a.runCommand(c, s, "", "-l") }, true
	}
	return func() { a.runCommand(c, s, "", "-c", text) }, true
}

// runCommand runs a program, by default the shell, for a client, with the client's streams and
// exit status.
func (a *agent) runCommand(c *client, s *session, program string, args ...string) {
	env := map[string]string{}
	for k, v := range s.request.Environment {
		env[k] = v
	}
	for k, v := range c.env {
		env[k] = v
	}
	var p *process
	err := s.root.do(func() error {
		if c.size != nil {
			env["TERM"] = knownTerminal(env["TERM"])
		}
		argv := append([]string{cmp.Or(program, s.root.shell())}, args...)
		cmd, err := newCommand(s.root, c.user, argv, env)
		if err == nil {
			p, err = start(cmd, c.size)
		}
		return err
	})
	if err != nil {
		c.fail(err.Error())
		return
	}
	c.serve(p)
}

// serve connects a client to its process until the process exits or the client closes the
// channel.
func (c *client) serve(p *process) {
	go c.control(p)
	if p.term != nil {
		go io.Copy(p.term, c)
		p.drain(p.term, func(b []byte) { c.Write(b) })
	} else {
		go func() {
			io.Copy(p.stdin, c)
			p.stdin.Close()
		}()
		var copies sync.WaitGroup
		copies.Go(func() { p.drain(p.stdout, func(b []byte) { c.Write(b) }) })
		copies.Go(func() { p.drain(p.stderr, func(b []byte) { c.Stderr().Write(b) }) })
		copies.Wait()
	}
	<-p.exited
	c.exit(p.status)
}

// control passes signals and terminal sizes to a process, and stops it when its client
// closes the channel.
func (c *client) control(p *process) {
	for {
		select {
		case size := <-c.resize:
			if p.term != nil {
				pty.Setsize(p.term, &size)
			}
		case sig := <-c.signals:
			p.signal(sig)
		case <-c.gone:
			select {
			case <-p.exited: // its background processes may go on
			default:
				p.stop()
			}
			return
		case <-p.exited:
			return
		}
	}
}
