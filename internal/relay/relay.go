// Package relay copies data between two connections.
package relay

import (
	"io"
	"sync"
)

// Conn is a connection whose directions can be closed separately: TCP, UNIX, an SSH
// channel.
type Conn interface {
	io.ReadWriteCloser
	CloseWrite() error
}

// Join copies in both directions until both are closed, then closes a and b.
func Join(a, b Conn) {
	defer a.Close()
	defer b.Close()
	var copies sync.WaitGroup
	for _, way := range [][2]Conn{{a, b}, {b, a}} {
		copies.Go(func() {
			if _, err := io.Copy(way[0], way[1]); err != nil {
				way[1].Close() // way[0] cannot receive: stop the sender
			}
			way[0].CloseWrite()
		})
	}
	copies.Wait()
}
