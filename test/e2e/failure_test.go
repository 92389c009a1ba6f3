//go:build e2e

package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"golang.org/x/sys/unix"
)

// killMain kills the main process of a unit with SIGKILL.
func (p *project) killMain(unit string) {
	p.t.Helper()
	p.systemctl("kill", "--signal=KILL", "--kill-whom=main", unit).ok()
}

func TestKills(t *testing.T) {
	t.Parallel()
	p := newProject(t, "kills")
	p.write("precious", "kept")

	t.Log("claude-vm-ctl is killed: Claude keeps running")
	e := p.terminal("a", 120, 28, "claude-vm-ctl run .")
	e.shows(ready)
	e.kill("claude-vm-ctl")
	e.shows("status=137")
	if got := p.property("ActiveState"); got != "active" {
		t.Errorf("ActiveState=%s", got)
	}
	e = p.terminal("b", 120, 28, "claude-vm-ctl attach .")
	e.shows(ready)

	t.Log("virtiofsd is killed: the VM stops, with the reason in its status")
	p.killMain(instance.Virtiofsd.Unit(p.id))
	const logs = "claude-vm-ctl logs"
	e.fails(123, "the VM on "+p.dir+" failed: virtiofsd, which shares the directory, died", logs)
	if got := p.property("StatusText"); got != "virtiofsd, which shares the directory, died" {
		t.Errorf("StatusText=%s", got)
	}
	if got := p.property("ActiveState"); got != "failed" {
		t.Errorf("ActiveState=%s", got)
	}
	p.wantGone2()

	t.Log("QEMU is killed: the terminal is restored")
	e = p.terminal("c", 120, 28, "stty -g >../before; claude-vm-ctl run .; s=$?; stty -g >../after; (exit $s)")
	e.shows(ready)
	p.killMain(p.unit())
	e.fails(123, "the VM on "+p.dir+" failed: QEMU was killed by SIGKILL", logs)
	p.eventually("the terminal's modes are reset", func() bool {
		return e.tmux("display-message", "-p", "#{cursor_flag} #{alternate_on} #{mouse_any_flag} #{keypad_cursor_flag}") == "1 0 0 0\n"
	})
	if before, after := p.read("../before"), p.read("../after"); before != after {
		t.Errorf("stty after the run: %s, want %s", after, before)
	}
	if got := p.property("Result"); got != "signal" {
		t.Errorf("Result=%s", got)
	}
	p.wantGone2()

	t.Log("the guest's kernel crashes: the unit fails")
	p.start()
	p.root("echo c > /proc/sysrq-trigger").fails(123, "the VM on "+p.dir+" failed: the guest stopped unexpectedly: its kernel crashed, or QEMU was asked to quit", logs)
	p.eventually("the unit fails", func() bool { return p.property("ActiveState") == "failed" })
	p.wantGone2()

	t.Log("the next start succeeds")
	p.start()
	if got := p.guest("cat /work/precious"); got != "kept" {
		t.Errorf("precious: %q", got)
	}
	p.systemctl("stop", p.unit()).ok()
	p.wantGone()
}

func TestInterruptedStart(t *testing.T) {
	t.Parallel()
	p := newProject(t, "interrupted")
	e := p.terminal("a", 120, 28, "claude-vm-ctl run .")
	e.shows("Booting the guest")
	e.keys("C-c")
	e.fails(130, "interrupted", "")
	if got := p.property("ActiveState"); got != "inactive" {
		t.Errorf("ActiveState=%s", got)
	}
	p.wantGone()
}

// TestMissing checks starts and doctor with parts missing, one at a time.
func TestMissing(t *testing.T) {
	t.Parallel()
	p := newProject(t, "missing")
	dir := filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "systemd/user", instance.Setup.Unit(p.id)+".d")
	// doctor checks the units of the instance "-", so give it the same drop-ins.
	other := filepath.Join(filepath.Dir(dir), instance.Setup.Unit("-")+".d")
	if err := os.Symlink(dir, other); err != nil {
		t.Fatal(err)
	}
	set := func(variable string) {
		t.Helper()
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "50-test.conf"), []byte("[Service]\nEnvironment="+variable+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		p.systemctl("daemon-reload").ok()
	}
	stranger := p.guestLike("GUEST_CONTRACT=99")
	for _, c := range []struct{ variable, check, message, hint string }{
		{"QEMU=qemu-none", "QEMU", "qemu-none is not installed", "sudo apt install qemu-system-x86"},
		{"VIRTIOFSD=virtiofsd-none", "virtiofsd", "virtiofsd is not installed", "sudo apt install virtiofsd"},
		{"GUEST=/nowhere", "guest bundle", "the guest bundle is incomplete: /nowhere/kernel: no such file or directory", "make guest install"},
		{"GUEST=" + stranger, "guest bundle", fmt.Sprintf("the guest bundle in %s has version 99 of the contract, the host has version %d", stranger, contract.Version), "make guest install"},
	} {
		set(c.variable)
		p.ctl("run", ".", "--", "--version").fails(121, c.message, c.hint)
		p.ctl("doctor").finds(121, "fail  "+c.check+": "+c.message, c.hint)
	}
	// A program that hangs must not block the other checks.
	hangs := filepath.Join(filepath.Dir(p.dir), "hangs")
	writeFile(hangs, "#!/bin/sh\nsleep 300\n")
	if err := os.Chmod(hangs, 0o755); err != nil {
		t.Fatal(err)
	}
	set("QEMU=" + hangs)
	r := p.ctl("doctor")
	if r.status != 121 || !strings.Contains(r.stdout, "fail  QEMU: "+hangs+" --version timed out\n") || !strings.Contains(r.stdout, "ok    virtiofsd: ") {
		t.Errorf("doctor with a QEMU that hangs: status %d\n%s", r.status, r.stdout)
	}
	for _, dir := range []string{dir, other} {
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	p.systemctl("daemon-reload").ok()
	p.unfitUnit()
	// The test host has no /dev/kvm, even if the machine has one.
	p.ctl("doctor").finds(0, "warn  KVM: /dev/kvm: no such file or directory: VMs are emulated, which is several times slower",
		"enable virtualization in the firmware, or nested virtualization if this is a VM; modprobe kvm_intel or kvm_amd")
}

// unfitUnit replaces the VM's unit by a masked and an invalid one.
func (p *project) unfitUnit() {
	p.t.Helper()
	path := filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "systemd/user", p.unit())
	load := func() {
		p.t.Helper()
		p.systemctl("daemon-reload").ok()
	}
	defer load()
	defer os.Remove(path)
	if err := os.Symlink(os.DevNull, path); err != nil {
		p.t.Fatal(err)
	}
	load()
	p.ctl("start").fails(121, p.unit()+" is masked", "systemctl --user unmask "+p.unit())
	if err := os.Remove(path); err != nil {
		p.t.Fatal(err)
	}
	writeFile(path, "[Service]\nType=exec\n")
	load()
	p.ctl("start").fails(121, p.unit()+" cannot be loaded: bad-setting", "systemctl --user status "+p.unit())
}

// guestLike creates a copy of the installed bundle with additional lines in guest.env.
func (p *project) guestLike(lines string) string {
	p.t.Helper()
	const installed = "/usr/local/share/claude-vm/guest"
	dir := filepath.Join(filepath.Dir(p.dir), "guest")
	env, err := os.ReadFile(filepath.Join(installed, "guest.env"))
	if err != nil {
		p.t.Fatal(err)
	}
	writeFile(filepath.Join(dir, "guest.env"), string(env)+lines+"\n")
	for _, name := range []string{"kernel", "initrd", "root.erofs"} {
		if err := os.Symlink(filepath.Join(installed, name), filepath.Join(dir, name)); err != nil {
			p.t.Fatal(err)
		}
	}
	return dir
}

func TestRefusedDirectories(t *testing.T) {
	t.Parallel()
	p := newProject(t, "refused")
	const refusing, project = "refusing to share %s with a VM: ", "mkdir -p ~/project && claude-vm-ctl run ~/project"
	for _, c := range []struct{ dir, message, hint string }{
		{"/", refusing + "it is the whole file system", project},
		{os.Getenv("HOME"), refusing + "it is your home directory, with your keys in it", project},
		{"/home", refusing + "your home directory is in it", project},
		{"/run", refusing + "your runtime directory, with the user manager's sockets, is in it", project},
		{"/nowhere", "%s: no such file or directory", "claude-vm-ctl list --all"},
	} {
		p.ctl("run", c.dir).fails(2, fmt.Sprintf(c.message, c.dir), c.hint)
		// A start with systemctl must fail, too.
		id := instance.Escape(c.dir)
		r := p.systemctl("start", instance.VM.Unit(id))
		if r.status == 0 {
			t.Errorf("systemctl start of the unit for %s succeeds, want failure", c.dir)
		}
		p.systemctl("reset-failed", instance.Setup.Unit(id))
	}
}

// TestReconnects connects to one port a thousand times. Before every twentieth connection,
// it kills a client that is receiving data.
func TestReconnects(t *testing.T) {
	t.Parallel()
	p := newProject(t, "reconnects")
	p.start()
	runtime := filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "claude-vm", p.id)
	lost, silent := p.lostAndSilent(filepath.Join(runtime, contract.SSHSocket(0)))
	connections := 300
	if os.Getenv("CLAUDE_VM_TEST_SOAK") != "" {
		connections = 3000
	}
	for i := range connections {
		if i%20 == 0 {
			p.killInMidStream()
		}
		// In a pause of 100 ms, the agent looks whether its client is gone. That must not cost the
		// next connection its data.
		if i%5 == 0 {
			time.Sleep(time.Duration(i%200) * time.Millisecond)
		}
		if err := echo(t, runtime, strconv.Itoa(i)); err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
	}
	lost.wait().fails(123, "lost the connection to the VM on "+p.dir+", which still runs", "claude-vm-ctl logs")
	silent.wait().fails(123, "cannot connect to the VM on "+p.dir+": the guest does not answer: timed out after 1m0s", "claude-vm-ctl logs")
}

// lostAndSilent starts two commands whose connections, through the first port, fail while
// the VM keeps running. The connection of the first command is closed, the connection of
// the second does not reach the guest. Both commands exit only after a timeout.
func (p *project) lostAndSilent(port string) (lost, silent *process) {
	p.t.Helper()
	if err := os.Rename(port, port+".real"); err != nil {
		p.t.Fatal(err)
	}
	end := p.bridge(port, port+".real", "")
	lost = p.spawn("", "claude-vm-ctl", "shell", ".", "--", "sh", "-c", "touch started; exec sleep 4321")
	// Look for the file on the host: a command in the guest could take the first port.
	p.eventually("it runs in the guest", func() bool { _, err := os.Stat(filepath.Join(p.dir, "started")); return err == nil })
	end()
	p.eventually("the port is free", func() bool {
		lock := p.portLock(0)
		defer lock.Close()
		return unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil
	})
	l, err := net.Listen("unix", port)
	if err != nil {
		p.t.Fatal(err)
	}
	defer l.Close()
	l.(*net.UnixListener).SetUnlinkOnClose(false) // then it is QEMU's socket again
	silent = p.spawn("", "claude-vm-ctl", "shell", ".")
	conn, err := l.Accept()
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { conn.Close() })
	if err := os.Rename(port+".real", port); err != nil {
		p.t.Fatal(err)
	}
	return lost, silent
}

func (p *project) killInMidStream() {
	p.t.Helper()
	cmd := exec.Command("claude-vm-ctl", "shell", p.dir, "--", "cat", "/dev/zero")
	out, err := cmd.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		p.t.Error(err)
	}
	cmd.Process.Kill()
	cmd.Wait()
}

// TestConsoleFlood checks that a guest that floods its console stays well below the 10,000 lines in
// 30 seconds at which journald drops lines of all units of the user, and that what it writes is
// marked as the guest's.
func TestConsoleFlood(t *testing.T) {
	t.Parallel()
	p := newProject(t, "console")
	p.start()
	p.root("timeout 20 sh -c 'yes flood >/dev/ttyS0'; echo '<0>after the flood' >/dev/ttyS0")
	journal := func(args ...string) string {
		return p.command("journalctl", append([]string{"--user", "--quiet", "--output=cat", "--unit=" + p.unit()}, args...)...).stdout
	}
	p.eventually("dropped lines are counted", func() bool {
		p.root("echo one more line >/dev/ttyS0")
		return strings.Contains(journal("--identifier=claude-vm-guest"), " lines of the guest were dropped")
	})
	if n := strings.Count(journal(), "flood"); n < 500 || n > 5000 {
		t.Errorf("%d lines of the flood are in the journal", n)
	}
	if got := journal("--identifier=claude-vm", "--grep=flood"); got != "" {
		t.Errorf("lines of the guest look like ours: %.1000s", got)
	}
}
