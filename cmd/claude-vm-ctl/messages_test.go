package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/t0mpr1c3/claude-microvm/internal/control"
	"github.com/t0mpr1c3/claude-microvm/internal/guest"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/vm"
	"golang.org/x/sys/unix"
)

// This file compares the messages that the scripts in testdata cannot provoke.

func TestIsPort(t *testing.T) {
	for word, want := range map[string]bool{
		"80": true, "8080:80": true, "127.0.0.1:80": true, "1.2.3.4:80:81": true, "80/udp": true, "80/": true, "1.2.3.4": true,
		"[::1]:80": true, ":80": true, "80:": true,
		"": false, ".": false, "..": false, ":": false, "./80": false, "/80": false, "web": false, "80web": false, "80/UDP": false,
		"[web]": false, "home-me-80": false, "-80": false, "80 ": false,
	} {
		if got := isPort.MatchString(word); got != want {
			t.Errorf("%q is a port: %v", word, got)
		}
	}
}

func TestSplitForward(t *testing.T) {
	tcp := func(address string, host, guest int) vm.Port {
		return vm.Port{Protocol: "tcp", Address: address, Host: host, Guest: guest}
	}
	for text, want := range map[string]struct {
		dir   string
		ports []vm.Port
	}{
		"80":                        {".", []vm.Port{tcp("127.0.0.1", 80, 80)}},
		"web 80 127.0.0.2:81:82":    {"web", []vm.Port{tcp("127.0.0.1", 80, 80), tcp("127.0.0.2", 81, 82)}},
		"./80 80/tcp":               {"./80", []vm.Port{tcp("127.0.0.1", 80, 80)}},
		"0.0.0.0:1 65535":           {".", []vm.Port{tcp("0.0.0.0", 1, 1), tcp("127.0.0.1", 65535, 65535)}},
		`home-me-a\x2db 5432:15432`: {`home-me-a\x2db`, []vm.Port{tcp("127.0.0.1", 5432, 15432)}},
	} {
		dir, ports, err := (&forwardVerb{words: strings.Fields(text)}).split()
		if diff := cmp.Diff(want.ports, ports); dir != want.dir || err != nil || diff != "" {
			t.Errorf("%s: %s, %v\n%s", text, dir, err, diff)
		}
	}
}

func TestListen(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port
	for address, want := range map[string]string{
		"127.0.0.1": fmt.Sprintf("1: listen tcp 127.0.0.1:%d: bind: address already in use; hint: ss -tlnp 'sport = :%[1]d'", port),
		"192.0.2.1": fmt.Sprintf("1: listen tcp 192.0.2.1:%d: bind: cannot assign requested address; hint: ip address", port), // RFC 5737
	} {
		listeners, err := listen([]vm.Port{{Protocol: "tcp", Address: "127.0.0.1"}, {Protocol: "tcp", Address: address, Host: port}})
		if got := describeError(err); got != want || listeners != nil {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if got, want := control.ListenHint(fmt.Errorf("bind: %w", unix.EACCES), vm.Port{Protocol: "tcp", Host: 80}), "sudo sysctl net.ipv4.ip_unprivileged_port_start=80"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestSSHHost: what list shows as a host name is the id again.
func TestSSHHost(t *testing.T) {
	for _, dir := range []string{"/srv/web", "/", "/srv/a b", `/srv/it's 100% \x`, "/srv/日本", "/srv/a.claude-vm"} {
		id := instance.Escape(dir)
		host := sshHost(id, "/etc/a b.vm") // no name for a host
		if got, err := sshInstance(host); got != id || err != nil || strings.ContainsAny(host, `\ '/`) {
			t.Errorf("%s is %s, and that %s, %v", id, host, got, err)
		}
	}
	for host, want := range map[string]string{
		"claude-vm/web": "web", "web.vm.claude-vm": "web.vm", "claude-vm/srv/web": "/srv/web", "claude-vm//srv/web": "/srv/web",
		"claude-vm/srv/a%20b%25": "/srv/a b%", "claude-vm/srv-a%20b": `srv-a\x20b`,
	} {
		if got, err := sshInstance(host); got != want || err != nil {
			t.Errorf("%s is %s, %v, want %s", host, got, err, want)
		}
	}
}

func TestDialError(t *testing.T) {
	v := &target{dir: "/srv/a b"}
	dial := func(err error) error {
		return &net.OpError{Op: "dial", Net: "unix", Addr: &net.UnixAddr{Name: "/proc/self/fd/7/ssh.0.sock"}, Err: os.NewSyscallError("connect", err)}
	}
	for want, err := range map[string]error{
		"120: no VM is running on /srv/a b; hint: claude-vm-ctl start '/srv/a b'":                                         &os.PathError{Op: "open", Path: "/run", Err: unix.ENOENT},
		"1: /srv/a b: all 16 connections to the VM are in use; hint: pgrep -af claude-vm-ctl":                             guest.ErrBusy,
		"123: cannot connect to the VM on /srv/a b: connect: permission denied; hint: claude-vm-ctl logs '/srv/a b'":      dial(unix.EACCES),
		"123: cannot connect to the VM on /srv/a b: talk to the guest: ssh: no auth; hint: claude-vm-ctl logs '/srv/a b'": errors.New("talk to the guest: ssh: no auth"),
		"123: cannot connect to the VM on /srv/a b: talk to the guest: i/o timeout; hint: claude-vm-ctl logs '/srv/a b'":  fmt.Errorf("talk to the guest: %w", os.ErrDeadlineExceeded),
	} {
		if got := describeError(v.dialError(err)); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if got, want := describeError(v.dialError(dial(unix.ECONNREFUSED))), "120: no VM is running on /srv/a b; hint: claude-vm-ctl start '/srv/a b'"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got, want := describeError(v.notRunning()), "120: no VM is running on /srv/a b; hint: claude-vm-ctl run '/srv/a b'"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestNewRequest(t *testing.T) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	_, err = newRequest(newOutput(null, null, null), "run", []string{"-p", "caf\xe9"})
	if got, want := describeError(err), `2: argument 2 of Claude is not UTF-8: "caf\xe9"; hint: claude-vm-ctl run . -- -p <FILE`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestAndMore(t *testing.T) {
	for n, want := range []string{"", ", and 1 more", ", and 2 more"} {
		if got := andMore(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

func TestRenameCommand(t *testing.T) {
	for dir, want := range map[string]string{
		"/srv/space ": "mv '/srv/space ' /srv/space", `/srv/a b\`: `mv '/srv/a b\' '/srv/a b'`, "/srv/\xffweb": "mv /srv/\xffweb /srv/_web",
	} {
		if got := renameCommand(dir); got != want {
			t.Errorf("%q: %s, want %s", dir, got, want)
		}
	}
}
