package gateway

import (
	"context"
	"io"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/t0mpr1c3/claude-microvm/internal/control"
	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/policy"
	"github.com/t0mpr1c3/claude-microvm/internal/relay"
	"github.com/t0mpr1c3/claude-microvm/internal/vm"
	"github.com/t0mpr1c3/claude-microvm/internal/vmfile"
)

// publish opens a port of the host. The caller holds g.mu, or is New.
func (g *Gateway) publish(p vm.Port) error {
	open, err := g.open(p)
	if err != nil {
		return failure.New(failure.Failed, control.ListenHint(err, p), "publish port %s: %w", p, plain(err))
	}
	g.ports[p] = open
	delete(g.failures, p)
	return nil
}

// open listens on a port and serves it until it is closed.
func (g *Gateway) open(p vm.Port) (io.Closer, error) {
	address := net.JoinHostPort(p.Address, strconv.Itoa(p.Host))
	if p.Protocol == policy.UDP {
		l, err := net.ListenPacket("udp", address)
		if err == nil {
			go g.serveDatagrams(l, p.Guest)
		}
		return l, err
	}
	l, err := net.Listen("tcp", address)
	if err == nil {
		go g.acceptAll(l, func(c net.Conn) { g.enter(c, p.Guest) })
	}
	return l, err
}

// publishAll opens ports, all or none. The caller holds g.mu.
func (g *Gateway) publishAll(ports []vm.Port) error {
	for i, p := range ports {
		if err := g.publish(p); err != nil {
			for _, open := range ports[:i] {
				g.unpublish(open)
			}
			return err
		}
	}
	return nil
}

// publishHeld opens ports, all or none, and marks them as held.
func (g *Gateway) publishHeld(words []string) ([]vm.Port, error) {
	var ports []vm.Port
	for _, word := range words {
		p, err := vmfile.ParsePort(word)
		if err != nil {
			return nil, err
		}
		ports = append(ports, p)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.publishAll(ports); err != nil {
		return nil, err
	}
	for _, p := range ports {
		g.held[p] = true
	}
	return ports, nil
}

// plain returns an error without the address, which the caller reports.
func plain(err error) error {
	if op, ok := err.(*net.OpError); ok {
		return op.Err
	}
	return err
}

// unpublish closes a port. Open connections stay. The caller holds g.mu.
func (g *Gateway) unpublish(p vm.Port) {
	if open := g.ports[p]; open != nil {
		open.Close()
	}
	delete(g.ports, p)
	delete(g.failures, p)
}

// enter connects a client on the host to a port of the guest.
func (g *Gateway) enter(c net.Conn, port int) {
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	in, err := g.stack.DialTCP(ctx, port)
	if err != nil {
		if tcp, ok := c.(*net.TCPConn); ok {
			tcp.SetLinger(0) // a reset, as if nothing had listened
		}
		c.Close()
		return
	}
	relay.Join(half(c), in)
}

// serveDatagrams passes datagrams to a port of the guest, and its answers back to the
// client that they are for.
func (g *Gateway) serveDatagrams(l net.PacketConn, port int) {
	clients := map[netip.AddrPort]net.Conn{}
	var mu sync.Mutex
	buf := make([]byte, maxDatagram)
	for {
		n, from, err := l.ReadFrom(buf)
		if err != nil {
			return
		}
		client := from.(*net.UDPAddr).AddrPort()
		mu.Lock()
		in := clients[client]
		if in == nil && g.take() {
			if in, err = g.stack.DialUDP(port); err != nil {
				g.give()
				in = nil
			} else {
				clients[client] = in
				go func() {
					defer g.give()
					g.answerDatagrams(l, from, in)
					mu.Lock()
					delete(clients, client)
					mu.Unlock()
				}()
			}
		}
		mu.Unlock()
		if in != nil {
			in.SetReadDeadline(time.Now().Add(udpIdle))
			in.Write(buf[:n])
		}
	}
}

// answerDatagrams passes the answers of the guest to a client until there are none for
// udpIdle.
func (g *Gateway) answerDatagrams(l net.PacketConn, client net.Addr, in net.Conn) {
	defer in.Close()
	buf := make([]byte, maxDatagram)
	for {
		n, err := in.Read(buf)
		if err != nil {
			return
		}
		in.SetReadDeadline(time.Now().Add(udpIdle))
		if _, err := l.WriteTo(buf[:n], client); err != nil {
			return
		}
	}
}
