package gateway

import (
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/t0mpr1c3/claude-microvm/internal/control"
	"github.com/t0mpr1c3/claude-microvm/internal/vm"
	"github.com/t0mpr1c3/claude-microvm/internal/vmfile"
)

// echoInGuest starts two servers in the guest: TCP port 80 and UDP port 53.
func (w *world) echoInGuest() {
	w.t.Helper()
	l, err := w.guest.Listen(80)
	if err != nil {
		w.t.Fatal(err)
	}
	go accept(l, func(c net.Conn) { go io.Copy(c, c) })
	packets, err := w.guest.ListenPacket(53)
	if err != nil {
		w.t.Fatal(err)
	}
	go func() {
		buf := make([]byte, 100)
		for {
			n, from, err := packets.ReadFrom(buf)
			if err != nil {
				return
			}
			packets.WriteTo(buf[:n], from)
		}
	}()
}

// TestPublishLoopback checks that a published port reaches a server that listens only on the
// guest's loopback interface.
func TestPublishLoopback(t *testing.T) {
	w := newWorld(t, nil)
	l, err := w.guest.ListenLoopback(5173)
	if err != nil {
		t.Fatal(err)
	}
	go accept(l, func(c net.Conn) { go io.Copy(c, c) })
	port := freePort(t)
	if err := w.gateway.Change(control.Change{Publish: []string{fmt.Sprintf("%d:5173", port)}}); err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	if !answers(c) {
		t.Error("a server on the loopback interface does not answer")
	}
}

func TestPublish(t *testing.T) {
	w := newWorld(t, nil)
	w.echoInGuest()
	for _, address := range []string{"127.0.0.1", "[::1]"} {
		port := freePort(t)
		for protocol, guest := range map[string]int{"tcp": 80, "udp": 53} {
			word := fmt.Sprintf("%s:%d:%d/%s", address, port, guest, protocol)
			if err := w.gateway.Change(control.Change{Publish: []string{word}}); err != nil {
				t.Fatal(err)
			}
			c, err := net.Dial(protocol, address+":"+fmt.Sprint(port))
			if err != nil {
				t.Fatal(err)
			}
			c.SetDeadline(time.Now().Add(10 * time.Second))
			if !answers(c) {
				t.Errorf("%s does not answer", word)
			}
			c.Close()
		}
		// A port that is in use is an error, and is not opened later.
		word := fmt.Sprintf("%s:%d:81", address, port)
		if err := w.gateway.Change(control.Change{Publish: []string{word}}); err == nil || !strings.Contains(err.Error(), "address already in use") {
			t.Errorf("a port that is in use: %v", err)
		}
		for _, p := range w.gateway.Status().Ports {
			if strings.HasSuffix(p.Port, ":81/tcp") {
				t.Errorf("a port that could not be opened is listed: %+v", p)
			}
		}
		if err := w.gateway.Change(control.Change{Unpublish: []string{address + ":" + fmt.Sprint(port)}}); err != nil {
			t.Error(err)
		}
		if c, err := net.Dial("tcp", address+":"+fmt.Sprint(port)); err == nil {
			c.Close()
			t.Error("the port is still open")
		}
	}
	if err := w.gateway.Change(control.Change{Unpublish: []string{"1"}}); err == nil {
		t.Error("a port that is not published was closed")
	}
	// A port at which nothing listens in the guest.
	port := freePort(t)
	if err := w.gateway.Change(control.Change{Publish: []string{fmt.Sprintf("%d:99", port)}}); err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err == nil && answers(c) {
		t.Error("a closed port of the guest answers")
	}
}

// TestAcceptFails checks that a port goes on after an error of accept(2).
func TestAcceptFails(t *testing.T) {
	w := newWorld(t, nil)
	accepts := &failingListener{}
	go w.gateway.acceptAll(accepts, func(net.Conn) {})
	for range 100 {
		if accepts.calls.Load() > 1 {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if accepts.calls.Load() < 2 {
		t.Error("the port is dead after an error of accept")
	}
}

// failingListener fails as if too many files were open, and then is closed.
type failingListener struct {
	net.Listener
	calls atomic.Int32
}

func (l *failingListener) Accept() (net.Conn, error) {
	if l.calls.Add(1) > 1 {
		return nil, net.ErrClosed
	}
	return nil, syscall.EMFILE
}

func (l *failingListener) Addr() net.Addr { return &net.TCPAddr{} }

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// TestTakenPort checks that a port that is in use prevents the start of a VM, but not the
// restart of its gateway.
func TestTakenPort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := Config{Settings: vm.Default(), Directory: t.TempDir()}
	c.Settings.Ports = append(c.Settings.Ports, vmPort(t, fmt.Sprint(l.Addr().(*net.TCPAddr).Port)))
	if _, err := New(c, false); err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("at the start: %v", err)
	}
	g, err := New(c, true)
	if err != nil {
		t.Fatal(err)
	}
	if ports := g.Status().Ports; len(ports) != 1 || !strings.Contains(ports[0].Error, "address already in use") {
		t.Errorf("after a restart: %+v", ports)
	}
	// It can be published again when it is free.
	again := control.Change{Publish: []string{c.Settings.Ports[0].String()}}
	if err := g.Change(again); err == nil {
		t.Error("the port was published while it is in use")
	}
	l.Close()
	if err := g.Change(again); err != nil {
		t.Error(err)
	}
	defer g.unpublish(c.Settings.Ports[0])
	if ports := g.Status().Ports; len(ports) != 1 || ports[0].Error != "" || ports[0].Live {
		t.Errorf("published again: %+v", ports)
	}
}

func vmPort(t *testing.T, word string) vm.Port {
	t.Helper()
	p, err := vmfile.ParsePort(word)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
