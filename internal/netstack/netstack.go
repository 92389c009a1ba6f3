// Package netstack is the network of a guest: a TCP/IP stack that is the guest's router and
// terminates each of its connections.
package netstack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"gvisor.dev/gvisor/pkg/log"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

const nic tcpip.NICID = 1

const (
	// maxHandshakes is the number of incoming connections that wait for an answer.
	maxHandshakes = 256
	// bufferSize is the size of each of the two buffers of a TCP connection in bytes. With
	// less than eight packets of the link, the window is often almost full, and the guest gets
	// two acknowledgements for each packet. More would only help a guest to fill the memory.
	bufferSize = 512 << 10
)

// ipv4Options permit connections to the guest's loopback interface.
var ipv4Options = ipv4.Options{AllowExternalLoopbackTraffic: true}

// loopback is an address of the guest: its kernel routes this address on eth0 too.
var loopback = netip.MustParseAddr("127.0.0.1")

// Stack is the router of one guest.
type Stack struct {
	stack *stack.Stack
	link  *link
}

// Handlers are called for what the guest sends to another address than those of the router.
type Handlers struct {
	// TCP is called in its own goroutine, and must call Accept or Reject.
	TCP func(*Request)
	// UDP is called for the first datagram of a flow. It must not block. If it returns
	// nil, the guest is told that the port is unreachable; otherwise the function is called in
	// its own goroutine with the flow.
	UDP func(destination netip.AddrPort) func(net.Conn)
}

// Conn is a TCP connection with the guest.
type Conn interface {
	net.Conn
	CloseWrite() error
}

// Request is a TCP connection that the guest wants.
type Request struct {
	Destination netip.AddrPort
	request     *tcp.ForwarderRequest
}

// New returns a stack that is not yet connected to a guest.
func New(h Handlers) (*Stack, error) {
	log.SetLevel(log.Warning) // not for each kind of packet that is ignored
	s := &Stack{
		stack: stack.New(stack.Options{
			NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocolWithOptions(ipv4Options)},
			TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4},
		}),
		link: &link{self: routerMAC, peer: guestMAC, accept: fromGuest},
	}
	if err := s.configure(); err != nil {
		return nil, errors.New("network stack: " + err.String())
	}
	forwarder := tcp.NewForwarder(s.stack, 0, maxHandshakes, func(r *tcp.ForwarderRequest) {
		go h.TCP(&Request{destination(r.ID()), r})
	})
	s.stack.SetTransportProtocolHandler(tcp.ProtocolNumber, forwarder.HandlePacket)
	flows := udp.NewForwarder(s.stack, func(r *udp.ForwarderRequest) bool {
		serve := h.UDP(destination(r.ID()))
		if serve == nil {
			return false
		}
		var queue waiter.Queue
		endpoint, err := r.CreateEndpoint(&queue)
		if err != nil {
			return false
		}
		go serve(gonet.NewUDPConn(&queue, endpoint))
		return true
	})
	s.stack.SetTransportProtocolHandler(udp.ProtocolNumber, flows.HandlePacket)
	return s, nil
}

// fromGuest accepts packets with the guest's address, so that the stack sees no others. It
// does not accept pings of other addresses than the router's, which the stack would answer.
// From the guest's loopback address, it accepts the packets of the router's own connections.
func fromGuest(ip header.IPv4) bool {
	to := ip.DestinationAddress()
	router := to == tcpip.AddrFrom4(Router.As4())
	switch ip.SourceAddress() {
	case tcpip.AddrFrom4(Guest.As4()):
		return router || to == tcpip.AddrFrom4(DNS.As4()) || ip.TransportProtocol() != header.ICMPv4ProtocolNumber
	case tcpip.AddrFrom4(loopback.As4()):
		return router && ip.TransportProtocol() == header.TCPProtocolNumber
	}
	return false
}

func destination(id stack.TransportEndpointID) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4(id.LocalAddress.As4()), id.LocalPort)
}

func (s *Stack) configure() tcpip.Error {
	sizes := tcpip.TCPReceiveBufferSizeRangeOption{Min: tcp.MinBufferSize, Default: bufferSize, Max: bufferSize}
	if err := s.stack.SetTransportProtocolOption(tcp.ProtocolNumber, &sizes); err != nil {
		return err
	}
	sends := tcpip.TCPSendBufferSizeRangeOption(sizes)
	if err := s.stack.SetTransportProtocolOption(tcp.ProtocolNumber, &sends); err != nil {
		return err
	}
	sack := tcpip.TCPSACKEnabled(true)
	if err := s.stack.SetTransportProtocolOption(tcp.ProtocolNumber, &sack); err != nil {
		return err
	}
	if err := limitTimeWait(s.stack); err != nil {
		return err
	}
	if err := s.stack.CreateNIC(nic, s.link); err != nil {
		return err
	}
	for _, address := range []netip.Addr{Router, DNS} {
		a := tcpip.ProtocolAddress{
			Protocol:          header.IPv4ProtocolNumber,
			AddressWithPrefix: tcpip.AddressWithPrefix{Address: tcpip.AddrFrom4(address.As4()), PrefixLen: 24},
		}
		if err := s.stack.AddProtocolAddress(nic, a, stack.AddressProperties{}); err != nil {
			return err
		}
	}
	// Receive what is for other addresses, and answer from them.
	if err := s.stack.SetPromiscuousMode(nic, true); err != nil {
		return err
	}
	if err := s.stack.SetSpoofing(nic, true); err != nil {
		return err
	}
	s.stack.SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: nic}})
	return nil
}

// limitTimeWait shortens the time for which a closed connection is kept, 8 KiB each, in case a
// packet of it is still under way. On this link there is none after a second.
func limitTimeWait(s *stack.Stack) tcpip.Error {
	wait := tcpip.TCPTimeWaitTimeoutOption(time.Second)
	return s.SetTransportProtocolOption(tcp.ProtocolNumber, &wait)
}

// Serve exchanges frames with QEMU until the connection fails.
func (s *Stack) Serve(conn net.Conn) error { return s.link.serve(conn) }

// Accept completes the guest's connection.
func (r *Request) Accept() (Conn, error) {
	var queue waiter.Queue
	endpoint, err := r.request.CreateEndpoint(&queue)
	if err != nil {
		r.request.Complete(true)
		return nil, errors.New(err.String())
	}
	r.request.Complete(false)
	endpoint.SocketOptions().SetKeepAlive(true)
	return &tcpConn{gonet.NewTCPConn(&queue, endpoint), endpoint}, nil
}

// tcpConn is a connection that the stack forgets some time after it was closed, also if the
// guest does not read what is still to be sent.
type tcpConn struct {
	*gonet.TCPConn
	endpoint tcpip.Endpoint
}

// lingerTime is how long the guest has to read the rest.
const lingerTime = 10 * time.Second

func (c *tcpConn) Close() error {
	time.AfterFunc(lingerTime, c.endpoint.Abort)
	return c.TCPConn.Close()
}

// Abort resets the connection.
func (c *tcpConn) Abort() { c.endpoint.Abort() }

// Reject resets the guest's connection.
func (r *Request) Reject() { r.request.Complete(true) }

func full(address netip.Addr, port int) tcpip.FullAddress {
	return tcpip.FullAddress{NIC: nic, Addr: tcpip.AddrFrom4(address.As4()), Port: uint16(port)}
}

// ListenTCP listens on an address of the router.
func (s *Stack) ListenTCP(address netip.Addr, port int) (net.Listener, error) {
	l, err := gonet.ListenTCP(s.stack, full(address, port), ipv4.ProtocolNumber)
	if err != nil {
		return nil, fmt.Errorf("listen on %v:%d: %w", address, port, err)
	}
	return l, nil
}

// ListenUDP listens on an address of the router.
func (s *Stack) ListenUDP(address netip.Addr, port int) (net.PacketConn, error) {
	local := full(address, port)
	c, err := gonet.DialUDP(s.stack, &local, nil, ipv4.ProtocolNumber)
	if err != nil {
		return nil, fmt.Errorf("listen on %v:%d: %w", address, port, err)
	}
	return c, nil
}

// DialTCP connects to a port of the guest: of its network interface or else, because many
// servers listen only there, of its loopback interface.
func (s *Stack) DialTCP(ctx context.Context, port int) (Conn, error) {
	var c Conn
	var err error
	for _, address := range []netip.Addr{Guest, loopback} {
		c, err = gonet.DialTCPWithBind(ctx, s.stack, full(Router, 0), full(address, port), ipv4.ProtocolNumber)
		if err == nil || ctx.Err() != nil {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// DialUDP returns a flow to a port of the guest.
func (s *Stack) DialUDP(port int) (net.Conn, error) {
	local, remote := full(Router, 0), full(Guest, port)
	c, err := gonet.DialUDP(s.stack, &local, &remote, ipv4.ProtocolNumber)
	if err != nil {
		return nil, err
	}
	return c, nil
}
