// Package relay joins two connections.
package relay

import (
	"io"
	"sync"
)

// Conn is a connection whose one direction can end before the other: TCP, UNIX, a
// channel of SSH.
type Conn interface {
	io.ReadWriteCloser
	CloseWrite() error
}

// Join copies both ways until both directions have ended, and closes both.
func Join(a, b Conn) {
	defer a.Close()
	defer b.Close()
	var copies sync.WaitGroup
	for _, way := range [][2]Conn{{a, b}, {b, a}} {
		copies.Go(func() {
			if _, err := io.Copy(way[0], way[1]); err != nil {
				way[1].Close() // nobody takes what it sends
			}
			way[0].CloseWrite()
		})
	}
	copies.Wait()
}
