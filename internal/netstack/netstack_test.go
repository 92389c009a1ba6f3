package netstack

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// wire returns the guest's end of the link of a stack that rejects all connections.
func wire(t testing.TB) net.Conn {
	t.Helper()
	s, err := New(Handlers{TCP: (*Request).Reject, UDP: func(netip.AddrPort) func(net.Conn) { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs, err := socketPair()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan bool)
	go func() {
		s.Serve(ours)
		ours.Close()
		close(done)
	}()
	t.Cleanup(func() {
		theirs.Close()
		<-done
		s.stack.Close()
	})
	return theirs
}

func TestTransfer(t *testing.T) {
	s, err := New(Handlers{
		TCP: func(r *Request) {
			if r.Destination.Port() == 1 {
				r.Reject()
				return
			}
			c, err := r.Accept()
			if err != nil {
				return
			}
			io.Copy(c, c)
			c.Close()
		},
		UDP: func(to netip.AddrPort) func(net.Conn) {
			if to.Port() == 1 {
				return nil
			}
			return func(c net.Conn) {
				buf := make([]byte, 100)
				n, _ := c.Read(buf)
				c.Write(buf[:n])
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	p, stop, err := NewPeer(s)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	c, err := p.Dial(t.Context(), "tcp", netip.MustParseAddrPort("192.0.2.1:7"))
	if err != nil {
		t.Fatal(err)
	}
	const size = 8 << 20
	go func() {
		c.Write(make([]byte, size))
		c.(Conn).CloseWrite()
	}()
	if n, err := io.Copy(io.Discard, c); n != size || err != nil {
		t.Errorf("%d of %d bytes returned, %v", n, size, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := p.Dial(ctx, "tcp", netip.MustParseAddrPort("192.0.2.1:1")); err == nil || ctx.Err() != nil {
		t.Errorf("a connection that is rejected: %v", err)
	}
	u, err := p.Dial(t.Context(), "udp", netip.MustParseAddrPort("192.0.2.1:7"))
	if err != nil {
		t.Fatal(err)
	}
	u.SetDeadline(time.Now().Add(5 * time.Second))
	u.Write([]byte("x"))
	if n, err := u.Read(make([]byte, 9)); n != 1 || err != nil {
		t.Errorf("UDP: %d, %v", n, err)
	}
}

// frame returns an Ethernet frame with its length.
func frame(source, kind string, payload []byte) []byte {
	f := append([]byte("\x52\x55\x0a\x00\x02\x02"+source+kind), payload...)
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(f))), f...)
}

// ping returns an ICMP echo request.
func ping(from, to netip.Addr) []byte {
	p := make([]byte, header.IPv4MinimumSize+header.ICMPv4MinimumSize)
	ip := header.IPv4(p)
	f, d := from.As4(), to.As4()
	p[0], p[8], p[9] = 0x45, 64, 1
	binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
	copy(p[12:], f[:])
	copy(p[16:], d[:])
	ip.SetChecksum(^ip.CalculateChecksum())
	icmp := header.ICMPv4(p[header.IPv4MinimumSize:])
	icmp.SetType(header.ICMPv4Echo)
	icmp.SetChecksum(header.ICMPv4Checksum(icmp, 0))
	return p
}

// arp returns an ARP request for an address.
func arp(target netip.Addr) []byte {
	p := header.ARP(make([]byte, header.ARPSize))
	p.SetIPv4OverEthernet()
	p.SetOp(header.ARPRequest)
	copy(p.HardwareAddressSender(), guestMAC)
	g, a := Guest.As4(), target.As4()
	copy(p.ProtocolAddressSender(), g[:])
	copy(p.ProtocolAddressTarget(), a[:])
	return p
}

// TestSpoofing checks which frames are answered.
func TestSpoofing(t *testing.T) {
	const guest, other = string(guestMAC), "\x52\x54\x00\x00\x00\x01"
	public := netip.MustParseAddr("1.1.1.1")
	for name, c := range map[string]struct {
		frame []byte
		want  bool
	}{
		"ARP for the router":                    {frame(guest, "\x08\x06", arp(Router)), true},
		"ARP for the DNS server":                {frame(guest, "\x08\x06", arp(DNS)), true},
		"ARP for another address":               {frame(guest, "\x08\x06", arp(netip.MustParseAddr("10.0.2.9"))), false},
		"ARP for the guest":                     {frame(guest, "\x08\x06", arp(Guest)), false},
		"ARP from another hardware address":     {frame(other, "\x08\x06", arp(Router)), false},
		"ping of the router":                    {frame(guest, "\x08\x00", ping(Guest, Router)), true},
		"ping of a public address":              {frame(guest, "\x08\x00", ping(Guest, public)), false},
		"ping from a public address":            {frame(guest, "\x08\x00", ping(public, Router)), false},
		"ping from the router's own address":    {frame(guest, "\x08\x00", ping(Router, Router)), false},
		"ping from another hardware address":    {frame(other, "\x08\x00", ping(Guest, Router)), false},
		"IPv6":                                  {frame(guest, "\x86\xdd", make([]byte, 60)), false},
		"ARP that is cut":                       {frame(guest, "\x08\x06", arp(Router)[:20]), false},
		"IPv4 that is cut":                      {frame(guest, "\x08\x00", ping(Guest, Router)[:19]), false},
		"a frame that is shorter than a header": {append([]byte{0, 0, 0, 5}, "short"...), false},
	} {
		link := wire(t)
		link.Write(c.frame)
		link.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		if c.want {
			link.SetReadDeadline(time.Now().Add(10 * time.Second))
		}
		if n, _ := link.Read(make([]byte, 1000)); (n > 0) != c.want {
			t.Errorf("%s: %d bytes of answer", name, n)
		}
	}
}

// TestFrameLength checks that a length that is not possible ends the connection, and does
// not make the gateway allocate that much.
func TestFrameLength(t *testing.T) {
	for _, length := range []uint32{0, maxFrame + 1, 1 << 31, 0xffffffff} {
		c := wire(t)
		c.Write(binary.BigEndian.AppendUint32(nil, length))
		c.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("length %d: %v", length, err)
		}
	}
}

// FuzzFrames sends frames to the stack; the first two bytes of each are its length.
func FuzzFrames(f *testing.F) {
	for _, p := range [][]byte{arp(Router), ping(Guest, Router)} {
		f.Add(frame(string(guestMAC), "\x08\x00", p)[2:])
		f.Add(frame(string(guestMAC), "\x08\x06", p)[2:])
	}
	s, err := New(Handlers{TCP: (*Request).Reject, UDP: func(netip.AddrPort) func(net.Conn) { return func(c net.Conn) { c.Close() } }})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for len(data) > 2 {
			n := min(int(binary.BigEndian.Uint16(data)), len(data)-2)
			s.link.receive(data[2 : 2+n])
			data = data[2+n:]
		}
	})
}
