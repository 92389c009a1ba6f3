package vport

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"
)

func TestCodecKeepsData(t *testing.T) {
	all := make([]byte, 1024)
	for i := range all {
		all[i] = byte(i)
	}
	var got bytes.Buffer
	var d decoder
	for _, b := range stuff(nil, all) { // byte by byte, to test the decoder's state
		d.feed([]byte{b}, func(p []byte) { got.Write(p) }, func(w word) { t.Errorf("word %v in data", w) })
	}
	if !bytes.Equal(got.Bytes(), all) {
		t.Errorf("decoded data differs from what was encoded")
	}
}

func FuzzCodec(f *testing.F) {
	f.Add([]byte("\x7e"), []byte("data"))
	f.Add([]byte("\x7eH0123"), []byte("\x7d\x7e"))
	f.Fuzz(func(t *testing.T, garbage, data []byte) {
		hello := word{kindHello, nonce{'0'}}
		stream := slices.Concat(garbage, hello.bytes(), stuff(nil, data))
		var got []byte
		seen := false
		var d decoder
		d.feed(stream, func(p []byte) {
			if seen {
				got = append(got, p...)
			}
		}, func(w word) {
			if w == hello {
				seen, got = true, nil
			}
		})
		if !seen || !bytes.Equal(got, data) {
			t.Errorf("after %q: hello seen %v, data %q, want %q", garbage, seen, got, data)
		}
	})
}

// host imitates QEMU's socket character device: it serves one client at a time, and all
// clients write to the same stream.
func host(t *testing.T) (path string, guest *os.File) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	guest = os.NewFile(uintptr(fds[0]), "guest")
	inner := os.NewFile(uintptr(fds[1]), "inner")
	path = filepath.Join(t.TempDir(), "port.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close(); inner.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			done := make(chan struct{})
			go func() {
				io.Copy(c, inner)
				close(done)
			}()
			io.Copy(inner, c)
			inner.SetReadDeadline(time.Now()) // stop the copier, keep the stream
			<-done
			inner.SetReadDeadline(time.Time{})
			c.Close()
		}
	}()
	return path, guest
}

func dial(t *testing.T, path string) net.Conn {
	t.Helper()
	raw, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c, err := Client(ctx, raw)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestReconnects(t *testing.T) {
	path, guest := host(t)
	go Serve(guest, func(c net.Conn) {
		io.Copy(c, c)
		c.Close()
	})
	for i := range 1000 {
		c := dial(t, path)
		want := fmt.Sprintf("connection %d \x7e\x7d", i)
		if _, err := io.WriteString(c, want); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(want))
		if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
			t.Fatalf("connection %d: got %q, %v, want %q", i, got, err, want)
		}
		if i%20 == 0 { // close while most of the echo is unread
			c.Write(make([]byte, 1<<20))
		}
		c.Close()
	}
}

func TestServerCloseIsEOF(t *testing.T) {
	path, guest := host(t)
	go Serve(guest, func(c net.Conn) {
		io.WriteString(c, "bye")
		c.Close()
	})
	c := dial(t, path)
	defer c.Close()
	got, err := io.ReadAll(c)
	if string(got) != "bye" || err != nil {
		t.Errorf("read %q, %v, want %q and end of file", got, err, "bye")
	}
}

// TestHangUp checks that a connection ends some time after its client is gone, without a new one.
func TestHangUp(t *testing.T) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	guest, inner := os.NewFile(uintptr(fds[0]), "guest"), os.NewFile(uintptr(fds[1]), "host")
	t.Cleanup(func() { guest.Close() })
	ended := make(chan error, 1)
	go Serve(guest, func(c net.Conn) {
		_, err := io.ReadAll(c)
		ended <- err
	})
	hello := word{kindHello, nonce{'1'}}.bytes()
	if _, err := inner.Write(hello); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(inner, make([]byte, len(hello))); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		t.Fatalf("the connection ends while its client is there: %v", err)
	case <-time.After(2 * hangUpChecks * hangUpInterval):
	}
	inner.Close()
	if err := <-ended; err != nil {
		t.Errorf("the end of the connection: %v, want end of file", err)
	}
}

func TestClientTimeout(t *testing.T) {
	path, _ := host(t)
	raw, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if c, err := Client(ctx, raw); err == nil {
		c.Close()
		t.Error("Client() succeeded without a server")
	}
}

// TestLateAcknowledgement checks that data never precedes the acknowledgement. If a guest
// was stopped, the deadline of its acknowledgement may have expired before it is written.
func TestLateAcknowledgement(t *testing.T) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	guest, inner := os.NewFile(uintptr(fds[0]), "guest"), os.NewFile(uintptr(fds[1]), "host")
	t.Cleanup(func() { guest.Close(); inner.Close() })
	// Fill the port, so that writes block.
	full := 0
	guest.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	for err == nil {
		var n int
		n, err = guest.Write(make([]byte, 4096))
		full += n
	}
	handled := make(chan struct{}, 2)
	go Serve(guest, func(c net.Conn) {
		handled <- struct{}{}
		c.Write([]byte("first"))
	})
	hello := word{kindHello, nonce{'1'}}.bytes()
	if _, err := inner.Write(hello); err != nil {
		t.Fatal(err)
	}
	time.Sleep(ackTimeout + time.Second)
	if len(handled) > 0 {
		t.Error("a connection is served without an acknowledgement")
	}
	if _, err := io.CopyN(io.Discard, inner, int64(full)); err != nil {
		t.Fatal(err)
	}
	if _, err := inner.Write(hello); err != nil {
		t.Fatal(err)
	}
	want := append(word{kindAck, nonce{'1'}}.bytes(), "first"...)
	got := make([]byte, len(want))
	if _, err := io.ReadFull(inner, got); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
}
