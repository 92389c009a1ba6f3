//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"golang.org/x/sys/unix"
)

// lasts is a command for a unit that exits when the unit's main process does.
const lasts = "tail -s 0.1 --pid=${MAINPID} -f /dev/null"

// withoutQEMU replaces QEMU by sleep. The unit stays in the state "activating" until it is
// stopped. For tests of claude-vm-ctl and systemd that need no VM.
func (p *project) withoutQEMU(lines ...string) {
	p.t.Helper()
	p.dropin(p.unit(), "90-sleep.conf", append([]string{"Type=exec", "ExecStart=", "ExecStart=sleep infinity",
		"ExecStartPost=", "ExecStartPost=" + lasts, "ExecStop=", "ExecStopPost="}, lines...)...)
}

// starting starts a command and waits until the VM's unit is activating.
func (p *project) starting(name string, args ...string) *process {
	p.t.Helper()
	b := p.spawn("", name, args...)
	p.awaitState("activating")
	return b
}

func (p *project) awaitState(state string) {
	p.t.Helper()
	p.eventually("the unit is "+state, func() bool {
		return p.property("ActiveState") == state && p.property("MainPID") != "0"
	})
}

// bus returns the environment variable of a proxy for the user bus. The proxy closes its
// connections when end is called or a message contains last.
func (p *project) bus(last string) (env string, end func()) {
	p.t.Helper()
	_, real, _ := strings.Cut(os.Getenv("DBUS_SESSION_BUS_ADDRESS"), "unix:path=")
	path := filepath.Join(p.t.TempDir(), "bus")
	return "DBUS_SESSION_BUS_ADDRESS=unix:path=" + path, p.bridge(path, real, last)
}

// bridge forwards connections to the socket from to the socket to, until end is called or
// the data contains last.
func (p *project) bridge(from, to, last string) (end func()) {
	p.t.Helper()
	l, err := net.Listen("unix", from)
	if err != nil {
		p.t.Fatal(err)
	}
	var mu sync.Mutex
	all := []io.Closer{l}
	end = func() {
		mu.Lock()
		defer mu.Unlock()
		for _, c := range all {
			c.Close()
		}
	}
	p.t.Cleanup(end)
	carry := func(to, from net.Conn) {
		defer end()
		buf := make([]byte, 64<<10)
		for {
			n, err := from.Read(buf)
			if err != nil || last != "" && bytes.Contains(buf[:n], []byte(last)) {
				return
			}
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
	}
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("unix", to)
			if err != nil {
				near.Close()
				return
			}
			mu.Lock()
			all = append(all, near, far)
			mu.Unlock()
			go carry(far, near)
			go carry(near, far)
		}
	}()
	return end
}

// TestStartFails checks the reasons that start reports when a VM does not start.
func TestStartFails(t *testing.T) {
	t.Parallel()
	p := newProject(t, "start")
	logs, failed := "claude-vm-ctl logs", "the VM on "+p.dir+" did not start: "

	t.Log("QEMU exits with an error")
	p.dropin(p.unit(), "90-sleep.conf", "Environment=QEMU_ARGUMENTS=-nonsense")
	p.ctl("start").fails(122, failed+"QEMU exited with status 1", logs)

	t.Log("the process prints nothing: output of an earlier start must not be reported")
	p.withoutQEMU()
	start := p.starting("claude-vm-ctl", "start")
	p.killMain(p.unit())
	start.wait().fails(122, failed+"result signal", logs)

	t.Log("the process prints a line")
	word := fmt.Sprint("the last word at ", time.Now().UnixNano())
	p.withoutQEMU("ExecStart=", `ExecStart=sh -c "echo `+word+` >&2; exec sleep infinity"`)
	start = p.starting("claude-vm-ctl", "start")
	p.eventually("the line is in the journal", func() bool { return strings.Contains(p.journal(), word+"\n") })
	p.killMain(p.unit())
	start.wait().fails(122, failed+word, logs)
	p.withoutQEMU()

	t.Log("the unit is stopped while it starts")
	start = p.starting("claude-vm-ctl", "start")
	p.ctl("stop").ok()
	start.wait().fails(122, "the VM on "+p.dir+" was stopped while it started", logs)

	t.Log("QEMU's monitor receives quit")
	p.dropin(p.unit(), "90-sleep.conf", "Environment=QEMU_ARGUMENTS=-S")
	start = p.starting("claude-vm-ctl", "start")
	p.eventually("QEMU's monitor answers", func() bool { return strings.Contains(p.monitor("quit"), `"return"`) })
	start.wait().fails(122, failed+"QEMU exited; the journal has its last messages", logs)

	t.Log("systemd rejects the start job")
	mask := filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "systemd/user", instance.Setup.Unit(p.id))
	if err := os.Symlink(os.DevNull, mask); err != nil {
		t.Fatal(err)
	}
	p.systemctl("daemon-reload").ok()
	p.ctl("start").fails(122, "start "+p.unit()+": Unit "+instance.Setup.Unit(p.id)+" is masked.", "claude-vm-ctl doctor")
	if err := os.Remove(mask); err != nil {
		t.Fatal(err)
	}
	p.systemctl("daemon-reload").ok()
	p.systemctl("reset-failed", p.unit())
	p.wantGone()
}

// TestGuestFails checks a guest that never receives begin, and one in which begin fails.
func TestGuestFails(t *testing.T) {
	t.Parallel()
	p := newProject(t, "guest")
	p.dropin(p.unit(), "90-test.conf", "ExecStartPost=", "ExecStartPost="+lasts)
	start := p.starting("claude-vm-ctl", "start")
	still := failure("the VM on "+p.dir+" is still starting", "claude-vm-ctl start")
	p.eventually("shell fails because the VM is starting", func() bool {
		r := p.ctl("shell", ".", "--", "true")
		return r.status == 120 && r.stderr == still
	})
	p.ctl("kill").ok()
	start.wait().fails(122, "the VM on "+p.dir+" was stopped while it started", "claude-vm-ctl logs")

	p.dropin(p.unit(), "90-test.conf")
	p.ctl("start", "--mount", "/srv:/etc/passwd", ".").fails(122, "the VM on "+p.dir+" did not start: in the guest: mount /etc/passwd: invalid argument", "claude-vm-ctl logs")
	p.wantGone2()
}

// TestInterrupts checks commands that are interrupted with Ctrl-C or lose the connection to
// the user manager.
func TestInterrupts(t *testing.T) {
	t.Parallel()
	p := newProject(t, "interrupts")
	const lost = "lost the connection to the user manager"
	p.withoutQEMU()

	t.Log("start is interrupted")
	start := p.starting("claude-vm-ctl", "start")
	start.interrupt().fails(130, "interrupted", "")
	p.wantGone()

	t.Log("start is interrupted, but the unit cannot be stopped")
	bus, _ := p.bus("StopUnit")
	start = p.starting("env", bus, "claude-vm-ctl", "start")
	start.interrupt().fails(1, "interrupted, but "+p.unit()+" was not stopped: "+lost, "claude-vm-ctl stop")

	t.Log("attach is interrupted while the VM starts")
	e := p.terminal("a", 120, 28, "claude-vm-ctl attach")
	e.shows("Starting the VM")
	e.keys("C-c")
	e.fails(130, "interrupted; the VM continues to start", "")
	e = p.terminal("b", 120, 28, "claude-vm-ctl attach")
	e.shows("Starting the VM")
	p.killMain(p.unit())
	e.fails(123, "the VM on "+p.dir+" failed: result signal", "claude-vm-ctl logs")

	t.Log("start loses the connection to the user manager")
	bus, end := p.bus("")
	start = p.starting("env", bus, "claude-vm-ctl", "start")
	end()
	start.wait().fails(122, "start "+p.unit()+": "+lost, "claude-vm-ctl doctor")

	t.Log("stop is interrupted, or loses the connection to the user manager")
	p.ctl("kill").ok()
	p.withoutQEMU("ExecStartPost=", "ExecStop="+lasts, "TimeoutStopSec=infinity")
	p.start()
	stop := p.spawn("", "claude-vm-ctl", "stop")
	p.awaitState("deactivating")
	stop.interrupt().fails(130, "interrupted", "")
	bus, _ = p.bus("StopUnit")
	p.command("env", bus, "claude-vm-ctl", "stop").fails(121, lost, "systemctl --user status")
	p.ctl("kill").ok()

	p.withoutJournal()

	t.Log("list and status lose the connection to the user manager")
	for last, args := range map[string][]string{
		"ListUnitsByPatterns": {"list"}, "Subscribe": {"list", "--watch", "--json"}, "GetAll": {"status"},
	} {
		bus, _ := p.bus(last)
		p.command("env", append([]string{bus, "claude-vm-ctl"}, args...)...).fails(121, lost, "systemctl --user status")
	}
	bus, _ = p.bus("SystemState")
	p.command("env", bus, "claude-vm-ctl", "list").fails(121, "cannot connect to the systemd user manager: "+lost,
		"log in as yourself (ssh, machinectl shell), not with su or sudo; then 'systemctl --user status' must work")
	p.wantGone()
}

// withoutJournal checks that status without journalctl prints everything except the journal,
// and an error.
func (p *project) withoutJournal() {
	p.t.Helper()
	ctl, err := exec.LookPath("claude-vm-ctl")
	if err != nil {
		p.t.Fatal(err)
	}
	status := func(path string) result {
		r := p.command("env", "PATH="+path, ctl, "status")
		if !strings.Contains(r.stdout, "        VM: inactive") || strings.Contains(r.stdout, "\n\n") {
			p.t.Errorf("with PATH=%s: %s", path, r.stdout)
		}
		r.stdout = ""
		return r
	}
	status("/nowhere").fails(121, "journalctl not found in PATH=/nowhere", "PATH=$PATH:/usr/bin:/run/current-system/sw/bin claude-vm-ctl status")
	journalctl := filepath.Join(p.t.TempDir(), "journalctl")
	if err := os.WriteFile(journalctl, []byte("#!/bin/sh\necho no journal >&2\nexit 3\n"), 0o755); err != nil {
		p.t.Fatal(err)
	}
	r := status(filepath.Dir(journalctl))
	r.stderr, _ = strings.CutPrefix(r.stderr, "no journal\n") // printed by journalctl
	r.fails(1, "journalctl: exit status 3", "claude-vm-ctl logs")
}

// TestSomebodyElse checks a start while another process is starting the same VM.
func TestSomebodyElse(t *testing.T) {
	t.Parallel()
	p := newProject(t, "else")
	p.withoutQEMU("ExecStartPost=")
	env, err := instance.HostPaths()
	if err != nil {
		t.Fatal(err)
	}
	// waits starts a command that waits for the other start.
	waits := func(args ...string) (offer *instance.Offer, b *process) {
		t.Helper()
		if offer, err = env.Offer(p.id); err != nil {
			t.Fatal(err)
		}
		looks, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(looks)
		if _, err := unix.InotifyAddWatch(looks, filepath.Join(filepath.Dir(env.RuntimeDirectory(p.id)), "."+p.id+".request"), unix.IN_OPEN); err != nil {
			t.Fatal(err)
		}
		b = p.spawn("", "claude-vm-ctl", args...)
		p.eventually("the command reads the other start's request", func() bool {
			n, err := unix.Read(looks, make([]byte, 4096))
			return n > 0 && err == nil
		})
		return offer, b
	}

	offer, b := waits("start")
	b.interrupt().fails(130, "interrupted", "")
	offer.Withdraw()

	offer, b = waits("start", "--cpus=2")
	p.start()
	offer.Withdraw()
	b.wait().fails(1, "another process has just started the VM on "+p.dir+", with other arguments or options", "claude-vm-ctl attach")
	p.ctl("stop").ok()
	p.wantGone()
}
