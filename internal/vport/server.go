package vport

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// maxUnread limits the unread bytes of a connection. SSH's own flow control keeps them far
// below that; a peer that exceeds it does not speak SSH.
const maxUnread = 16 << 20

// Serve accepts connections on port, the guest's end, and calls handle in a new goroutine
// for each. A new connection closes the previous one. The port must be in non-blocking
// mode. Serve returns when reading the port fails.
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
		n, err := s.read(raw, buf)
		if err != nil {
			return &os.PathError{Op: "read", Path: port.Name(), Err: err}
		}
		dec.feed(buf[:n], s.deliver, s.control)
	}
}

// hangUpChecks and hangUpInterval are how often, and at which intervals, the host's end must be
// without a client before the connection is closed. The kernel receives the notification of a
// new client and the client's data through different queues: a new connection may be served
// while the port still reports that the previous client has disconnected. On a busy machine
// this takes long, but each check gives the guest's kernel another occasion to notice.
const (
	hangUpChecks   = 10
	hangUpInterval = 100 * time.Millisecond
)

// read waits for data, and closes the current connection if its client is gone.
//
// The checks are reads, not calls of poll(2): in Linux (virtio_console.c), a poll(2) that finds
// data before the interrupt is handled takes the data from the queue, the interrupt then finds
// nothing, and whoever waits in epoll_wait(2) is not woken.
func (s *server) read(raw syscall.RawConn, buf []byte) (int, error) {
	for checks := 0; ; {
		n, hungUp, err := s.readOnce(raw, buf)
		switch {
		case n > 0:
			return n, nil
		case err != nil && !errors.Is(err, os.ErrDeadlineExceeded):
			return 0, err
		case !hungUp:
			checks = 0
		default:
			if checks++; checks > hangUpChecks {
				s.hangUp()
			}
		}
	}
}

// readOnce waits for data, for hangUpInterval if the host's end has no client but there is a
// connection. Waiting in the Go runtime's poller, which is edge-triggered, does not use up the
// processor although the port reports a hang-up all the time.
func (s *server) readOnce(raw syscall.RawConn, buf []byte) (n int, hungUp bool, err error) {
	s.port.SetReadDeadline(time.Time{})
	var failed error
	err = raw.Read(func(fd uintptr) bool {
		for {
			n, failed = syscall.Read(int(fd), buf)
			if failed != syscall.EINTR {
				break
			}
		}
		// read(2) returns 0 if the host's end has no client, or had none a moment ago.
		if hungUp = n == 0 && failed == nil && s.connected(); hungUp {
			s.port.SetReadDeadline(time.Now().Add(hangUpInterval))
		}
		return n > 0 || failed != nil && failed != syscall.EAGAIN
	})
	return max(n, 0), hungUp, cmp.Or(err, failed)
}

func (s *server) connected() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current != nil
}

// hangUp closes the current connection.
func (s *server) hangUp() {
	s.mu.Lock()
	c := s.current
	s.mu.Unlock()
	if c == nil {
		return
	}
	s.drop(io.EOF)
	// If the client exists after all, it must learn that the connection is closed.
	_ = s.write(word{kindClose, c.nonce}.bytes())
}

// server is one port and its current connection.
type server struct {
	port   *os.File
	handle func(net.Conn)

	mu      sync.Mutex
	current *serverConn

	// writing is held during writes to the port: control words and the data of two
	// connections must not be interleaved.
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
		_ = s.write(ack) // an earlier one has been written, or the client is gone
		return
	}
	s.drop(io.EOF)
	// The connection's data must follow a complete acknowledgement. If writing that
	// fails, the client is gone, or its next hello starts the connection.
	if s.write(ack) != nil {
		return
	}
	c := newServerConn(s, w.nonce)
	s.mu.Lock()
	s.current = c
	s.mu.Unlock()
	go s.handle(c)
}

// drop closes the current connection and wakes a writer that is blocked because the host
// no longer reads.
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

// ackTimeout limits how long writing a control word may take: without a client at the
// host's end, writes to a port block.
const ackTimeout = 2 * time.Second

// serverConn implements net.Conn without deadlines, which its users do not need.
type serverConn struct {
	server *server
	nonce  nonce

	mu     sync.Mutex
	cond   *sync.Cond
	unread bytes.Buffer
	err    error // why the connection has ended; set once
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

// end makes reads and writes return reason. It returns false if the connection has already
// ended.
func (c *serverConn) end(reason error) bool {
	c.mu.Lock()
	first := c.err == nil
	if first {
		c.err = reason
	}
	c.cond.Broadcast()
	c.mu.Unlock()
	if first {
		// Wake a blocked write. Every write sets or clears the deadline first.
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
		// Clear the deadline of an earlier write or of end, then check that this
		// connection has not ended. In the other order, the deadline that end sets
		// to wake this write could be lost.
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
