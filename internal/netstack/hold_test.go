package netstack

import (
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/seqnum"
)

// TestHold checks which acknowledgements without data are sent: those that no other segment of the
// connection follows in time, or that are repeated.
func TestHold(t *testing.T) {
	a, b := [12]byte{1}, [12]byte{2}
	for name, c := range map[string]struct {
		segments []segment
		now      string // what is sent at once
		later    string // what is sent at the end
	}{
		"data follows":         {[]segment{{a, 1, true}, {a, 1, false}}, "B", ""},
		"newer data follows":   {[]segment{{a, 1, true}, {a, 2, false}}, "B", ""},
		"nothing follows":      {[]segment{{a, 1, true}}, "", "A"},
		"a newer one follows":  {[]segment{{a, 1, true}, {a, 2, true}, {a, 9, true}}, "", "C"},
		"it is repeated":       {[]segment{{a, 1, true}, {a, 1, true}, {a, 1, true}}, "AB", "C"},
		"another connection's": {[]segment{{a, 1, true}, {b, 2, false}}, "AB", ""},
		"another packet":       {[]segment{{a, 1, true}, {}}, "AB", ""},
		"a reset":              {[]segment{{a, 1, true}, {a, 0, false}}, "AB", ""},
		"the number wraps":     {[]segment{{a, seqnum.Value(1<<32 - 1), true}, {a, 3, true}}, "", "B"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				defer theirs.Close()
				l := &link{out: ours}
				var got []byte
				go func() {
					for frame := make([]byte, 5); ; { // the length and a letter
						if _, err := io.ReadFull(theirs, frame); err != nil {
							return
						}
						got = append(got, frame[4])
					}
				}()
				for i, s := range c.segments {
					letter := []byte{'A' + byte(i)}
					l.write(s, net.Buffers{letter})
					letter[0] = '?' // the stack uses the buffer again
				}
				synctest.Wait()
				if string(got) != c.now {
					t.Errorf("sent at once: %s, want %s", got, c.now)
				}
				got = nil
				time.Sleep(2 * holdTime)
				synctest.Wait()
				if string(got) != c.later {
					t.Errorf("sent later: %s, want %s", got, c.later)
				}
			})
		})
	}
}
