package netstack

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

// Peer is the guest's end of the link, for tests without a VM.
type Peer struct{ stack *stack.Stack }

// NewPeer returns a guest that is connected to a router until stop is called.
func NewPeer(router *Stack) (p *Peer, stop func(), err error) {
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, nil, err
	}
	done := make(chan struct{})
	go func() {
		router.Serve(ours)
		ours.Close()
		close(done)
	}()
	stop = func() {
		theirs.Close()
		<-done
	}
	if p, err = newPeer(theirs); err != nil {
		stop()
		return nil, nil, err
	}
	return p, stop, nil
}

// socketPair returns two connected UNIX sockets, as QEMU and the gateway have.
func socketPair() (a, b net.Conn, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	var ends [2]net.Conn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "socketpair")
		ends[i], err = net.FileConn(f)
		f.Close()
		if err != nil {
			return nil, nil, err
		}
	}
	return ends[0], ends[1], nil
}

// newPeer returns the guest's end of a connection.
func newPeer(conn net.Conn) (*Peer, error) {
	l := &link{self: guestMAC, peer: routerMAC, accept: func(header.IPv4) bool { return true }}
	l.out = conn
	s := stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocolWithOptions(ipv4Options)},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol},
	})
	if err := limitTimeWait(s); err != nil {
		return nil, errors.New(err.String())
	}
	if err := s.CreateNIC(nic, l); err != nil {
		return nil, errors.New(err.String())
	}
	for _, address := range []netip.Addr{Guest, loopback} {
		a := tcpip.ProtocolAddress{
			Protocol:          header.IPv4ProtocolNumber,
			AddressWithPrefix: tcpip.AddressWithPrefix{Address: tcpip.AddrFrom4(address.As4()), PrefixLen: 24},
		}
		if err := s.AddProtocolAddress(nic, a, stack.AddressProperties{}); err != nil {
			return nil, errors.New(err.String())
		}
	}
	s.SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: nic}})
	go l.serve(conn)
	return &Peer{s}, nil
}

// Dial connects from the guest.
func (p *Peer) Dial(ctx context.Context, protocol string, to netip.AddrPort) (net.Conn, error) {
	local, remote := full(Guest, 0), full(to.Addr(), int(to.Port()))
	if protocol == "udp" {
		return gonet.DialUDP(p.stack, &local, &remote, ipv4.ProtocolNumber)
	}
	return gonet.DialTCPWithBind(ctx, p.stack, local, remote, ipv4.ProtocolNumber)
}

// Listen listens on a TCP port of the guest.
func (p *Peer) Listen(port int) (net.Listener, error) {
	return gonet.ListenTCP(p.stack, full(Guest, port), ipv4.ProtocolNumber)
}

// ListenLoopback listens on a TCP port of the guest's loopback interface.
func (p *Peer) ListenLoopback(port int) (net.Listener, error) {
	return gonet.ListenTCP(p.stack, full(loopback, port), ipv4.ProtocolNumber)
}

// ListenPacket listens on a UDP port of the guest.
func (p *Peer) ListenPacket(port int) (net.PacketConn, error) {
	local := full(Guest, port)
	return gonet.DialUDP(p.stack, &local, nil, ipv4.ProtocolNumber)
}
