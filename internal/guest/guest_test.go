package guest

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"github.com/t0mpr1c3/claude-microvm/internal/vport"
)

// TestSilent: a guest that says nothing, or stops at some point, is waited for no
// longer than the caller will.
func TestSilent(t *testing.T) {
	for want, guest := range map[string]func(port *os.File, heard func()){
		"the guest does not answer: no word": func(port *os.File, heard func()) {
			port.Read(make([]byte, 100))
			heard()
		},
		"talk to the guest: no word": func(port *os.File, heard func()) {
			vport.Serve(port, func(c net.Conn) {
				c.Read(make([]byte, 100))
				heard()
			})
		},
		"talk to the guest: ssh: handshake failed: EOF": func(port *os.File, _ func()) {
			vport.Serve(port, func(c net.Conn) {
				io.WriteString(c, "SSH-2.0-guest\r\n")
				c.Close()
			})
		},
	} {
		dir := t.TempDir()
		l, err := net.Listen("unix", filepath.Join(dir, contract.SSHSocket(0)))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ctx, cancel := context.WithCancelCause(t.Context())
		told := make(chan struct{})
		go func() {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			port, err := conn.(*net.UnixConn).File()
			if err != nil {
				t.Error(err)
				return
			}
			defer port.Close()
			guest(port, func() { cancel(errors.New("no word")) })
			<-told
		}()
		if _, err := Dial(ctx, dir, contract.UserClaude); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
		close(told)
		cancel(nil)
	}
}

// TestBusy: of the ports that are taken none is used.
func TestBusy(t *testing.T) {
	dir := t.TempDir()
	for i := range contract.SSHPorts {
		lock, err := take(filepath.Join(dir, contract.SSHLock(i)))
		if err != nil {
			t.Fatal(err)
		}
		defer lock.Close()
	}
	_, err := Dial(t.Context(), dir, contract.UserClaude)
	if want := "all 16 connections into the VM are in use"; !errors.Is(err, ErrBusy) || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}
