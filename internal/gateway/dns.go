package gateway

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"time"

	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"github.com/t0mpr1c3/claude-microvm/internal/netstack"
	"github.com/t0mpr1c3/claude-microvm/internal/policy"
	"golang.org/x/net/dns/dnsmessage"
)

const (
	// timeToLive of answers, in seconds. It is short, because a name can get another address.
	timeToLive = 30
	// maxMessage is the largest message over UDP that the guest may send, in bytes.
	maxMessage = 4096
	// maxLookups limits the look-ups that run at the same time.
	maxLookups = 64
)

// serveDNS answers queries over UDP until the connection is closed.
func (g *Gateway) serveDNS(conn net.PacketConn) {
	lookups := make(chan struct{}, maxLookups)
	buf := make([]byte, maxMessage)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		select {
		case lookups <- struct{}{}:
		default:
			continue // the guest asks again
		}
		query := append([]byte(nil), buf[:n]...)
		go func() {
			defer func() { <-lookups }()
			if answer := g.answer(query); answer != nil {
				conn.WriteTo(answer, from)
			}
		}()
	}
}

// serveDNSOverTCP answers queries on one connection, each after its length of two bytes.
func (g *Gateway) serveDNSOverTCP(conn net.Conn) {
	defer conn.Close()
	for {
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		var length [2]byte
		if _, err := io.ReadFull(conn, length[:]); err != nil {
			return
		}
		query := make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := io.ReadFull(conn, query); err != nil {
			return
		}
		answer := g.answer(query)
		if answer == nil {
			return
		}
		if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...)); err != nil {
			return
		}
	}
}

// answer returns the answer to a query; nil if it is not a query. A name has one synthetic
// IPv4 address, whatever its real addresses are, and no other records: no IPv6 address, so that
// all connections have names; and no HTTPS record, which would encrypt the names.
func (g *Gateway) answer(query []byte) []byte {
	var p dnsmessage.Parser
	h, err := p.Start(query)
	if err != nil || h.Response {
		return nil
	}
	q, err := p.Question()
	m := dnsmessage.Message{Header: dnsmessage.Header{
		ID: h.ID, Response: true, OpCode: h.OpCode, RecursionDesired: h.RecursionDesired, RecursionAvailable: true,
	}}
	switch {
	case err != nil:
		m.RCode = dnsmessage.RCodeFormatError
	case h.OpCode != 0:
		m.RCode = dnsmessage.RCodeNotImplemented
	default:
		m.Questions = []dnsmessage.Question{q}
		m.RCode = g.resolve(q, &m)
	}
	answer, err := m.Pack()
	if err != nil {
		return nil
	}
	return answer
}

// resolve adds the answer to a question.
func (g *Gateway) resolve(q dnsmessage.Question, m *dnsmessage.Message) dnsmessage.RCode {
	name, err := policy.ParseName(q.Name.String())
	if err != nil || q.Class != dnsmessage.ClassINET || q.Type == dnsmessage.TypePTR {
		return dnsmessage.RCodeNameError
	}
	address := netstack.Router
	if name != contract.GatewayName {
		if code := g.exists(name); code != dnsmessage.RCodeSuccess {
			return code
		}
		if q.Type == dnsmessage.TypeA {
			address = g.names.address(name)
		}
	}
	if q.Type == dnsmessage.TypeA {
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: timeToLive},
			Body:   &dnsmessage.AResource{A: address.As4()},
		}}
	}
	return dnsmessage.RCodeSuccess
}

// exists looks up a name, so that the guest sees at once that it does not exist. Names that
// the guest may not connect to are not looked up, which would pass what is in them to their
// servers. They seem to exist, so that the connection is denied with the reason.
func (g *Gateway) exists(name string) dnsmessage.RCode {
	if name == policy.HostName || !g.current().AnyPort(name) || g.force.Load().outside.proxyFor(name, 443) != nil {
		return dnsmessage.RCodeSuccess
	}
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Second) // resolv.conf(5): the guest waits 5 s
	defer cancel()
	_, err := g.force.Load().outside.lookup(ctx, name)
	var failed *net.DNSError
	switch {
	case err == nil:
		return dnsmessage.RCodeSuccess
	case errors.As(err, &failed) && failed.IsNotFound:
		return dnsmessage.RCodeNameError
	}
	return dnsmessage.RCodeServerFailure
}
