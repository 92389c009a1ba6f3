package relay

import (
	"io"
	"net"
	"testing"
)

// pair returns both ends of a TCP connection.
func pair(t *testing.T) (a, b *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	d, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return c.(*net.TCPConn), d.(*net.TCPConn)
}

// joined returns the outer ends of two joined connections. done is closed when Join
// returns.
func joined(t *testing.T) (near, far *net.TCPConn, done chan struct{}) {
	t.Helper()
	near, a := pair(t)
	far, b := pair(t)
	done = make(chan struct{})
	go func() {
		Join(a, b)
		close(done)
	}()
	return near, far, done
}

func TestHalfClose(t *testing.T) {
	near, far, done := joined(t)
	io.WriteString(near, "question")
	near.CloseWrite()
	if got, err := io.ReadAll(far); err != nil || string(got) != "question" {
		t.Fatalf("%q, %v", got, err)
	}
	// The other direction is still open.
	io.WriteString(far, "answer")
	far.Close()
	if got, err := io.ReadAll(near); err != nil || string(got) != "answer" {
		t.Fatalf("%q, %v", got, err)
	}
	<-done
}

func TestReset(t *testing.T) {
	near, far, done := joined(t)
	far.SetLinger(0)
	far.Close() // sends a reset: what near sends cannot be delivered
	for {
		if _, err := near.Write(make([]byte, 1<<16)); err != nil {
			break
		}
	}
	<-done
}
