package gateway

import (
	"context"
	"net"
	"net/netip"
	"time"

	"github.com/t0mpr1c3/claude-microvm/internal/policy"
)

// udpIdle is how long a flow without datagrams stays open: RFC 4787 recommends five minutes
// and requires two, but most flows are one question and one answer.
const udpIdle = 2 * time.Minute

// maxDatagram is the largest payload of UDP over IPv4.
const maxDatagram = 65507

// openUDP decides about the first datagram of a flow.
func (g *Gateway) openUDP(to netip.AddrPort) func(net.Conn) {
	q := g.request(policy.UDP, to)
	decision := g.judge(q)
	if !decision.Allowed {
		g.audit.deniedBy(q, decision)
		return nil
	}
	return func(in net.Conn) {
		defer in.Close()
		if !g.take() {
			g.audit.failed(q, errTooMany)
			return
		}
		defer g.give()
		ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
		defer cancel()
		out, q, err := g.force.Load().outside.dial(ctx, q, g.judge)
		if err != nil {
			g.audit.failed(q, err)
			return
		}
		stop := func() { in.Close(); out.Close() }
		defer g.track(q, stop)()
		if d := g.judge(q); !d.Allowed { // the policy has changed since the decision
			g.audit.deniedBy(q, d)
			out.Close()
			return
		}
		g.audit.allowed(q, decision)
		joinDatagrams(in, out)
	}
}

// joinDatagrams copies datagrams in both directions until neither has one for udpIdle.
func joinDatagrams(a, b net.Conn) {
	defer a.Close()
	defer b.Close()
	go func() {
		copyDatagrams(a, b)
		a.Close()
		b.Close()
	}()
	copyDatagrams(b, a)
}

func copyDatagrams(to, from net.Conn) {
	buf := make([]byte, maxDatagram)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		until := time.Now().Add(udpIdle)
		from.SetReadDeadline(until)
		to.SetReadDeadline(until)
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}
