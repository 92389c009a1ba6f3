package guest

import (
	"fmt"
	"net"

	"github.com/t0mpr1c3/claude-microvm/internal/relay"
)

// Forward leads what comes to l to a port of the guest's loopback. It returns when
// l fails or is closed. A connection that the guest refuses is told to refused.
func (c *Client) Forward(l net.Listener, port int, refused func(error)) error {
	for {
		near, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			far, err := c.Dial("tcp", fmt.Sprintf("localhost:%d", port))
			if err != nil {
				near.Close()
				refused(err)
				return
			}
			relay.Join(near.(relay.Conn), far.(relay.Conn))
		}()
	}
}
