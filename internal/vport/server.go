package vport

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxUnread bounds what a connection may hold unread, in bytes. SSH's own flow
// control keeps it far below; past it the peer does not speak SSH.
const maxUnread = 16 << 20

// Serve makes connections of what arrives at port, the guest's end, which must
// be open in non-blocking mode, and hands each to handle in a goroutine of its
// own. A new connection ends the one before. Serve returns when the port fails.
func Serve(port *os.File, handle func(net.Conn)) error {
	raw, err := port.SyscallConn()
	if err != nil {
		return err
	}
	s := &server{port: port, handle: handle}
	defer s.drop(net.ErrClosed)
	var dec decoder
	buf := make([]byte, 64<<10)
	for {
		n, err := readPort(raw, buf, func() { s.suspect(raw) })
		if err != nil {
			return &os.PathError{Op: "read", Path: port.Name(), Err: err}
		}
		dec.feed(buf[:n], s.deliver, s.control)
	}
}

// readPort waits for bytes. A read of none means that the host's end has no
// client, or had none a moment ago; gone is called then and the wait goes on:
// the port, unlike a socket, comes back. The runtime's poller is edge-triggered, so the wait costs nothing
// although poll(2) reports a hang-up all the while.
func readPort(raw syscall.RawConn, buf []byte, gone func()) (int, error) {
	var n int
	var failed error
	err := raw.Read(func(fd uintptr) bool {
		for {
			n, failed = syscall.Read(int(fd), buf)
			switch {
			case failed == syscall.EINTR:
				continue
			case failed == syscall.EAGAIN:
				return false
			case failed == nil && n == 0:
				gone()
				return false
			}
			return true
		}
	})
	if err == nil {
		err = failed
	}
	return max(n, 0), err
}

// hangUpGrace is how long the host's end must be without a client before the
// connection counts as gone. The kernel learns of the next client over another
// queue than its bytes: a new connection may be served while the port still
// says that the old one's client has left.
const hangUpGrace = 100 * time.Millisecond

// suspect ends the present connection if the host's end has no client and gets
// none.
func (s *server) suspect(raw syscall.RawConn) {
	s.mu.Lock()
	c := s.current
	s.mu.Unlock()
	if c == nil {
		return
	}
	time.AfterFunc(hangUpGrace, func() {
		hungUp := false
		raw.Control(func(fd uintptr) {
			fds := []unix.PollFd{{Fd: int32(fd)}}
			if n, err := unix.Poll(fds, 0); err == nil && n == 1 {
				hungUp = fds[0].Revents&unix.POLLHUP != 0
			}
		})
		s.mu.Lock()
		same := s.current == c
		s.mu.Unlock()
		if hungUp && same {
			s.drop(io.EOF)
		}
	})
}

// server is one port and the connection that has it at present.
type server struct {
	port   *os.File
	handle func(net.Conn)

	mu      sync.Mutex
	current *serverConn

	// writing is held while bytes go to the port: control words and data of
	// two connections must not interleave.
	writing sync.Mutex
}

func (s *server) deliver(data []byte) {
	s.mu.Lock()
	c := s.current
	s.mu.Unlock()
	if c != nil {
		c.deliver(data)
	}
}

func (s *server) control(w word) {
	if w.kind != kindHello {
		return
	}
	s.mu.Lock()
	known := s.current != nil && s.current.nonce == w.nonce
	s.mu.Unlock()
	ack := word{kindAck, w.nonce}.bytes()
	if known {
		_ = s.write(ack) // one of them has arrived, or the client is gone
		return
	}
	s.drop(io.EOF)
	// What the connection says must come after a whole acknowledgement. If that fails,
	// the client is gone again, or its next hello begins the connection.
	if s.write(ack) != nil {
		return
	}
	c := newServerConn(s, w.nonce)
	s.mu.Lock()
	s.current = c
	s.mu.Unlock()
	go s.handle(c)
}

// drop ends the present connection and frees a writer that waits for a host
// which no longer reads.
func (s *server) drop(reason error) {
	s.mu.Lock()
	c := s.current
	s.current = nil
	s.mu.Unlock()
	if c != nil {
		c.end(reason)
	}
}

func (s *server) write(p []byte) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.port.SetWriteDeadline(time.Now().Add(ackTimeout))
	_, err := s.port.Write(p)
	return err
}

// ackTimeout bounds the writing of a control word: the host may have closed its
// end again, and a port without a client takes nothing.
const ackTimeout = 2 * time.Second

// serverConn implements net.Conn. Deadlines are not supported: nothing here
// needs them, and both ends are on one machine.
type serverConn struct {
	server *server
	nonce  nonce

	mu     sync.Mutex
	cond   *sync.Cond
	unread bytes.Buffer
	err    error // why there is no more; set once
	out    []byte
}

func newServerConn(s *server, n nonce) *serverConn {
	c := &serverConn{server: s, nonce: n}
	c.cond = sync.NewCond(&c.mu)
	return c
}

func (c *serverConn) deliver(data []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	if c.unread.Len()+len(data) > maxUnread {
		c.err = errors.New("peer ignores flow control")
	} else {
		c.unread.Write(data)
	}
	c.cond.Broadcast()
}

// end makes reads and writes return reason.
func (c *serverConn) end(reason error) bool {
	c.mu.Lock()
	first := c.err == nil
	if first {
		c.err = reason
	}
	c.cond.Broadcast()
	c.mu.Unlock()
	if first {
		// Wake a write that is stuck; whoever writes next sets a deadline anew.
		c.server.port.SetWriteDeadline(time.Now())
	}
	return first
}

func (c *serverConn) ended() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

func (c *serverConn) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.unread.Len() == 0 {
		if c.err != nil {
			return 0, c.err
		}
		c.cond.Wait()
	}
	return c.unread.Read(p)
}

func (c *serverConn) Write(p []byte) (int, error) {
	c.server.writing.Lock()
	defer c.server.writing.Unlock()
	c.out = stuff(c.out[:0], p)
	for rest := c.out; len(rest) > 0; {
		// The deadline of whoever wrote before, or of end, must not count here:
		// clear it first, then look whether this connection is still alive.
		c.server.port.SetWriteDeadline(time.Time{})
		if err := c.ended(); err != nil {
			return 0, err
		}
		n, err := c.server.port.Write(rest)
		rest = rest[n:]
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return 0, err
		}
	}
	return len(p), nil
}

// Close ends the connection on both sides; the client reads EOF.
func (c *serverConn) Close() error {
	if c.end(net.ErrClosed) {
		return c.server.write(word{kindClose, c.nonce}.bytes())
	}
	return nil
}

type portAddr string

func (portAddr) Network() string  { return "virtio-serial" }
func (a portAddr) String() string { return string(a) }

func (c *serverConn) LocalAddr() net.Addr              { return portAddr(c.server.port.Name()) }
func (c *serverConn) RemoteAddr() net.Addr             { return portAddr("host") }
func (c *serverConn) SetDeadline(time.Time) error      { return os.ErrNoDeadline }
func (c *serverConn) SetReadDeadline(time.Time) error  { return os.ErrNoDeadline }
func (c *serverConn) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }
