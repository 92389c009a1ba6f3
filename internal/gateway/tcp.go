package gateway

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"time"

	"github.com/t0mpr1c3/claude-microvm/internal/netstack"
	"github.com/t0mpr1c3/claude-microvm/internal/policy"
	"github.com/t0mpr1c3/claude-microvm/internal/relay"
)

const (
	// helloTimeout is how long a client may take to say which name it wants.
	helloTimeout = 10 * time.Second
	// maxHello is the largest TLS ClientHello in bytes; those of browsers have about 2 KiB.
	maxHello = 64 << 10
)

// serveTCP connects the guest to the destination of a connection, if it may.
func (g *Gateway) serveTCP(r *netstack.Request) {
	q := g.request(policy.TCP, r.Destination)
	if !g.take() {
		g.audit.failed(q, errTooMany)
		r.Reject()
		return
	}
	defer g.give()
	decision := g.judge(q)
	if !decision.Allowed {
		g.denyTCP(r, q, decision)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*dialTimeout)
	defer cancel()
	out, q, err := g.force.Load().outside.dial(ctx, q, g.judge)
	var refusal *deniedError
	switch {
	case errors.As(err, &refusal):
		g.denyTCP(r, q, refusal.Decision)
		return
	case err != nil:
		g.audit.failed(q, err)
		r.Reject()
		return
	}
	in, err := r.Accept()
	if err != nil {
		out.Close()
		return
	}
	defer g.track(q, func() { in.Close(); out.Close() })()
	if d := g.judge(q); !d.Allowed { // the policy has changed since the decision
		g.audit.deniedBy(q, d)
		in.Close()
		out.Close()
		return
	}
	switch byName := g.current().ByName(); {
	case byName && q.Port == 80:
		g.serveHTTP(in, out, q, decision)
	case byName && q.Port == 443:
		g.serveTLS(in, out, q, decision)
	default:
		g.audit.allowed(q, decision)
		relay.Join(in, half(out))
	}
}

// denyTCP resets a connection. To HTTP it answers with the reason.
func (g *Gateway) denyTCP(r *netstack.Request, q policy.Request, d policy.Decision) {
	g.audit.deniedBy(q, d)
	if q.Port != 80 {
		r.Reject()
		return
	}
	if in, err := r.Accept(); err == nil {
		serveOne(in, denial(q, d))
	}
}

// serveTLS checks that the name in the TLS handshake is the one that was allowed, and
// passes the rest through.
func (g *Gateway) serveTLS(in netstack.Conn, out net.Conn, q policy.Request, d policy.Decision) {
	in.SetReadDeadline(time.Now().Add(helloTimeout))
	name, hello, err := readHello(in)
	in.SetReadDeadline(time.Time{})
	if refused := g.claims(q, d, name, err); refused != nil {
		g.audit.deniedBy(q, *refused)
		in.Close()
		out.Close()
		return
	}
	g.audit.allowed(q, d)
	if _, err := out.Write(hello); err != nil {
		in.Close()
		out.Close()
		return
	}
	relay.Join(in, half(out))
}

// claims decides about the name that a connection itself claims to be for; err is why it
// claims none. allowed is the decision about the connection. It returns nil if there is no
// objection.
func (g *Gateway) claims(q policy.Request, allowed policy.Decision, name string, err error) *policy.Decision {
	if q.Name == "" { // to an address: only what Deny= denies by name
		switch {
		case allowed.Rule != "": // of Allow=, for this address
			return nil
		case err != nil:
			return &policy.Decision{Reason: "the connection does not name its server: " + err.Error()}
		case name == "":
			return nil
		}
		d := g.current().Name(policy.Request{Protocol: q.Protocol, Name: name, Port: q.Port})
		if d.Allowed || d.Rule == "" {
			return nil
		}
		return &d
	}
	switch {
	case err != nil:
		return &policy.Decision{Reason: "the connection does not name its server: " + err.Error()}
	case name != q.Name:
		return &policy.Decision{Reason: "the connection asks the server for another name: " + cmp.Or(name, "none")}
	}
	return nil
}

// readHello reads a TLS ClientHello. It returns the name of the server in it and all bytes
// that it has read.
func readHello(in io.Reader) (name string, read []byte, err error) {
	var buf bytes.Buffer
	done := errors.New("the name is known")
	server := tls.Server(&readOnly{r: io.TeeReader(io.LimitReader(in, maxHello), &buf)}, &tls.Config{
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			name = hello.ServerName
			return nil, done
		},
	})
	err = server.Handshake()
	switch {
	case !errors.Is(err, done):
		return "", buf.Bytes(), errors.New("no TLS")
	case name == "":
		return "", buf.Bytes(), nil
	}
	name, err = policy.ParseName(name)
	return name, buf.Bytes(), err
}

// readOnly is a connection that discards what is written.
type readOnly struct {
	net.Conn
	r io.Reader
}

func (c *readOnly) Read(p []byte) (int, error)       { return c.r.Read(p) }
func (c *readOnly) Write(p []byte) (int, error)      { return len(p), nil }
func (c *readOnly) Close() error                     { return nil }
func (c *readOnly) SetDeadline(time.Time) error      { return nil }
func (c *readOnly) SetWriteDeadline(time.Time) error { return nil }
func (c *readOnly) SetReadDeadline(time.Time) error  { return nil }

// half returns a connection whose directions can be closed separately. A TLS connection to
// a proxy has its own way to close one direction.
func half(c net.Conn) relay.Conn {
	if h, ok := c.(relay.Conn); ok {
		return h
	}
	return whole{c}
}

// whole is a connection of which no direction can be closed alone.
type whole struct{ net.Conn }

func (w whole) CloseWrite() error { return w.Close() }
