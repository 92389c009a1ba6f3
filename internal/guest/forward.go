package guest

import (
	"fmt"
	"net"

	"github.com/t0mpr1c3/claude-microvm/internal/relay"
)

// Forward forwards connections to l to a port on the guest's loopback interface. It
// returns when l fails or is closed. It calls refused with the error if the guest refuses
// a connection.
func (c *Client) Forward(l net.Listener, port int, refused func(error)) error {
	for {
		local, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			remote, err := c.Dial("tcp", fmt.Sprintf("localhost:%d", port))
			if err != nil {
				local.Close()
				refused(err)
				return
			}
			relay.Join(local.(relay.Conn), remote.(relay.Conn))
		}()
	}
}
