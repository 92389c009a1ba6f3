package netstack

import (
	"bytes"
	"net"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/seqnum"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// holdTime is how long an acknowledgement without data waits for the next segment of its connection, which
// acknowledges, too: the stack has no delayed acknowledgements, and each frame interrupts the guest. A server
// near the host answers in less. Linux waits for up to 40 ms.
const holdTime = time.Millisecond

// held is an acknowledgement that waits.
type held struct {
	frame net.Buffers // nil if there is none
	segment
	timer *time.Timer
}

// segment is what matters of a TCP segment.
type segment struct {
	flow [12]byte // addresses and ports
	ack  seqnum.Value
	pure bool // it does nothing but acknowledge
}

// segmentOf returns the zero value for other packets. The packet is from the stack, and so valid.
func segmentOf(pkt *stack.PacketBuffer) (s segment) {
	ip, tcp := header.IPv4(pkt.NetworkHeader().Slice()), header.TCP(pkt.TransportHeader().Slice())
	if pkt.TransportProtocolNumber != header.TCPProtocolNumber || len(ip) < header.IPv4MinimumSize || len(tcp) < header.TCPMinimumSize {
		return s
	}
	copy(s.flow[:], ip[12:20]) // source and destination
	copy(s.flow[8:], tcp[:4])  // ports
	s.ack = seqnum.Value(tcp.AckNumber())
	s.pure = tcp.Flags() == header.TCPFlagAck && pkt.Data().Size() == 0
	return s
}

// supersededBy reports whether the held acknowledgement is of no use once s is sent. It is not if s repeats
// it, which means that a segment was lost.
func (h *held) supersededBy(s segment) bool {
	return s.flow == h.flow && (h.ack.LessThan(s.ack) || s.ack == h.ack && !s.pure)
}

// hold keeps an acknowledgement back. l.writes is locked.
func (l *link) hold(s segment, frame net.Buffers) {
	l.held.frame, l.held.segment = net.Buffers{bytes.Join(frame, nil)}, s // the stack uses the buffers again
	if l.held.timer == nil {
		l.held.timer = time.AfterFunc(holdTime, func() {
			l.writes.Lock()
			defer l.writes.Unlock()
			l.release()
		})
		return
	}
	l.held.timer.Reset(holdTime)
}

// release sends the acknowledgement that is held, if there is one. l.writes is locked.
func (l *link) release() bool {
	frame := l.held.frame
	l.held.frame = nil
	return frame == nil || l.send(frame)
}
