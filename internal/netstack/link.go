package netstack

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// The addresses of the link. QEMU's user network has the same, and guests are configured
// with them.
var (
	Guest  = netip.MustParseAddr("10.0.2.15")
	Router = netip.MustParseAddr("10.0.2.2")
	DNS    = netip.MustParseAddr("10.0.2.3")
)

const (
	// The hardware addresses of the link: QEMU's default for the first network card, and
	// that of the router in QEMU's user network.
	guestMAC  = tcpip.LinkAddress("\x52\x54\x00\x12\x34\x56")
	routerMAC = tcpip.LinkAddress("\x52\x55\x0a\x00\x02\x02")

	// MTU is host_mtu= of the network card in claude-vm@.service: the largest that virtio
	// permits is 65535, less the Ethernet header. Large packets are most of the speed.
	MTU = 65520
	// maxFrame has room for a VLAN tag, which is ignored.
	maxFrame = MTU + header.EthernetMinimumSize + 4
)

// link is the Ethernet link to the guest. It is a stack.LinkEndpoint. The other end is a
// netdev of QEMU's type stream: each frame follows its length, a 32-bit integer.
type link struct {
	self, peer tcpip.LinkAddress
	// accept reports whether to deliver a packet.
	accept func(header.IPv4) bool

	mu         sync.Mutex
	dispatcher stack.NetworkDispatcher
	// out is the connection to QEMU, nil while there is none. writes serializes writes to it.
	out    net.Conn
	writes sync.Mutex
	held   held // protected by writes
}

var errFrame = errors.New("QEMU sent a frame of an invalid length")

// serve delivers the frames from QEMU to the stack until the connection fails.
func (l *link) serve(conn net.Conn) error {
	l.mu.Lock()
	l.out = conn
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		l.out = nil
		l.mu.Unlock()
	}()
	in := bufio.NewReaderSize(conn, 256<<10)
	var length [4]byte
	frame := make([]byte, maxFrame)
	for {
		if _, err := io.ReadFull(in, length[:]); err != nil {
			return err
		}
		n := binary.BigEndian.Uint32(length[:])
		if n == 0 || n > maxFrame {
			return fmt.Errorf("%w: %d", errFrame, n)
		}
		if _, err := io.ReadFull(in, frame[:n]); err != nil {
			return err
		}
		l.receive(frame[:n])
	}
}

// receive handles a frame. It ignores frames that are not from the peer's address.
func (l *link) receive(frame []byte) {
	if len(frame) < header.EthernetMinimumSize {
		return
	}
	eth := header.Ethernet(frame)
	payload := frame[header.EthernetMinimumSize:]
	if eth.SourceAddress() != l.peer {
		return
	}
	switch eth.Type() {
	case header.ARPProtocolNumber:
		l.answerARP(payload)
	case header.IPv4ProtocolNumber:
		if len(payload) < header.IPv4MinimumSize || !l.accept(header.IPv4(payload)) {
			return
		}
		l.mu.Lock()
		dispatcher := l.dispatcher
		l.mu.Unlock()
		if dispatcher == nil {
			return
		}
		pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(payload)})
		dispatcher.DeliverNetworkPacket(header.IPv4ProtocolNumber, pkt)
		pkt.DecRef()
	}
}

// answerARP answers a request for an address of the router.
func (l *link) answerARP(payload []byte) {
	request := header.ARP(payload)
	if len(payload) < header.ARPSize || !request.IsValid() || request.Op() != header.ARPRequest {
		return
	}
	target, ok := netip.AddrFromSlice(request.ProtocolAddressTarget())
	if !ok || target != Router && target != DNS || l.self != routerMAC {
		return
	}
	frame := make([]byte, header.EthernetMinimumSize+header.ARPSize)
	header.Ethernet(frame).Encode(&header.EthernetFields{SrcAddr: l.self, DstAddr: l.peer, Type: header.ARPProtocolNumber})
	reply := header.ARP(frame[header.EthernetMinimumSize:])
	reply.SetIPv4OverEthernet()
	reply.SetOp(header.ARPReply)
	copy(reply.HardwareAddressSender(), l.self)
	copy(reply.ProtocolAddressSender(), request.ProtocolAddressTarget())
	copy(reply.HardwareAddressTarget(), request.HardwareAddressSender())
	copy(reply.ProtocolAddressTarget(), request.ProtocolAddressSender())
	l.write(segment{}, net.Buffers{frame})
}

// WritePackets implements stack.LinkWriter. Packets are lost while QEMU is not connected.
func (l *link) WritePackets(packets stack.PacketBufferList) (int, tcpip.Error) {
	for i, pkt := range packets.AsSlice() {
		var eth [header.EthernetMinimumSize]byte
		header.Ethernet(eth[:]).Encode(&header.EthernetFields{SrcAddr: l.self, DstAddr: l.peer, Type: pkt.NetworkProtocolNumber})
		if !l.write(segmentOf(pkt), append(net.Buffers{eth[:]}, pkt.AsSlices()...)) {
			return i, &tcpip.ErrClosedForSend{}
		}
	}
	return packets.Len(), nil
}

// write writes a frame, or holds it back, and reports whether QEMU is connected.
func (l *link) write(s segment, frame net.Buffers) bool {
	l.writes.Lock()
	defer l.writes.Unlock()
	if l.held.frame != nil {
		l.held.timer.Stop()
		if l.held.supersededBy(s) {
			l.held.frame = nil
		}
	}
	if !l.release() {
		return false
	}
	if s.pure {
		l.hold(s, frame)
		return true
	}
	return l.send(frame)
}

// send sends a frame. l.writes is locked.
func (l *link) send(frame net.Buffers) bool {
	l.mu.Lock()
	out := l.out
	l.mu.Unlock()
	if out == nil {
		return false
	}
	n := 0
	for _, part := range frame {
		n += len(part)
	}
	frame = append(net.Buffers{binary.BigEndian.AppendUint32(nil, uint32(n))}, frame...)
	if _, err := frame.WriteTo(out); err != nil {
		out.Close() // the rest of the frame is missing
		return false
	}
	return true
}

// The rest of stack.LinkEndpoint.

func (l *link) MTU() uint32                             { return MTU }
func (l *link) SetMTU(uint32)                           {}
func (l *link) MaxHeaderLength() uint16                 { return 0 }
func (l *link) LinkAddress() tcpip.LinkAddress          { return l.self }
func (l *link) SetLinkAddress(tcpip.LinkAddress)        {}
func (l *link) Wait()                                   {}
func (l *link) Close()                                  {}
func (l *link) SetOnCloseAction(func())                 {}
func (l *link) ARPHardwareType() header.ARPHardwareType { return header.ARPHardwareEther }
func (l *link) AddHeader(*stack.PacketBuffer)           {}
func (l *link) ParseHeader(*stack.PacketBuffer) bool    { return true }

// Capabilities omits the verification of checksums: a UNIX socket does not lose bits.
func (l *link) Capabilities() stack.LinkEndpointCapabilities {
	return stack.CapabilityRXChecksumOffload
}

func (l *link) Attach(d stack.NetworkDispatcher) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dispatcher = d
}

func (l *link) IsAttached() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dispatcher != nil
}
