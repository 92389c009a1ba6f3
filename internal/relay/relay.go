// Package relay copies data between two connections.
package relay

import (
	"io"
	"net"
	"sync"
)

// Conn is a connection whose directions can be closed separately: TCP, UNIX, an SSH
// channel.
type Conn interface {
	io.ReadWriteCloser
	CloseWrite() error
}

// bufferSize is what one TCP segment of the gateway's link contains: the MTU of 65520 bytes less an IPv4
// header and a TCP header with timestamps. With 64 KiB, each full segment is followed by one of 68 bytes.
const bufferSize = 65520 - 20 - 32

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// abort closes a connection so that the other end notices, if the protocol can do that.
func abort(c Conn) {
	switch c := c.(type) {
	case interface{ Abort() }:
		c.Abort()
	case *net.TCPConn:
		c.SetLinger(0) // Close sends a reset
	}
	c.Close()
}

// Join copies in both directions until both are closed, then closes a and b.
func Join(a, b Conn) {
	defer a.Close()
	defer b.Close()
	var copies sync.WaitGroup
	for _, way := range [][2]Conn{{a, b}, {b, a}} {
		copies.Go(func() {
			// Without methods such as ReadFrom, for which io.Copy would use smaller buffers.
			to, from := struct{ io.Writer }{way[0]}, struct{ io.Reader }{way[1]}
			buffer := buffers.Get().(*[bufferSize]byte)
			defer buffers.Put(buffer)
			if _, err := io.CopyBuffer(to, from, buffer[:]); err != nil {
				// Not CloseWrite: what way[0] has received would look complete.
				abort(way[0])
				abort(way[1])
				return
			}
			way[0].CloseWrite()
		})
	}
	copies.Wait()
}
