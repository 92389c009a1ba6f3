//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"golang.org/x/sys/unix"
)

// TestBusy checks that many concurrent clients of one VM leave no processes or file
// descriptors behind.
func TestBusy(t *testing.T) {
	t.Parallel()
	p := newProject(t, "busy")
	p.ctl("start", ".").ok()
	files := func() int {
		pid := p.property("MainPID")
		entries, err := os.ReadDir("/proc/" + pid + "/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	// Without the threads of the kernel, which makes and ends them as it needs them.
	guestProcesses := func() string {
		return p.root("ps --ppid 2 -p 2 --deselect --no-headers | wc -l; ls /proc/$(pidof agent)/fd | wc -l").ok().stdout
	}
	p.wantScratchDir() // the agent opens it
	guestProcesses()
	filesBefore, before := files(), guestProcesses()

	p.spawn("", "claude-vm-ctl", "shell", ".", "--", "python3", "-c", serveEcho)
	a, b, c := freePort(t), freePort(t), freePort(t)
	forward := p.spawn("", "claude-vm-ctl", "forward", fmt.Sprintf("%d:7007", a), fmt.Sprintf("127.0.0.1:%d:7007", b))
	p.eventually("two ports answer", func() bool { return answers(a, "one") && answers(b, "two") })
	p.ctl("forward", "--detach", ".", fmt.Sprintf("%d:7007", c)).ok()
	p.eventually("a third port answers", func() bool { return answers(c, "three") })
	p.ctl("forward", fmt.Sprintf("%d:7007", c)).fails(1,
		fmt.Sprintf("publish port 127.0.0.1:%d:7007/tcp: bind: address already in use", c), fmt.Sprintf("ss -tlnp 'sport = :%d'", c))
	if l := p.list(p.dir); l == nil || len(l.Ports) != 3 {
		t.Errorf("list with three forwarded ports: %+v", l)
	}
	// Both kinds come back with a gateway that was killed.
	p.systemctl("kill", "-s", "KILL", instance.Gateway.Unit(p.id)).ok()
	p.eventually("the ports answer again", func() bool { return answers(a, "one") && answers(b, "two") && answers(c, "three") })
	if answers(freePort(t), "nobody") {
		t.Error("a port that is not forwarded answers")
	}
	p.noneLeft()

	var shells []*emulator
	for i := range 4 {
		e := p.terminal(fmt.Sprint("shell", i), 80, 24, "claude-vm-ctl shell .")
		e.shows(":" + p.dir + "$")
		shells = append(shells, e)
	}
	for i, e := range shells {
		e.keys(fmt.Sprintf("echo $((%d * 1111))", i+1), "Enter")
	}
	for i, e := range shells {
		e.shows(fmt.Sprint((i + 1) * 1111))
		e.keys("exit 3", "Enter")
		e.shows("status=3")
	}

	// Attach and detach repeatedly in one terminal.
	loop := p.terminal("loop", 80, 24, `for i in $(seq 50); do claude-vm-ctl attach . 2>/dev/null || break; done; echo "rounds=$i"`)
	loop.tmux("set-option", "-g", "status", "off")
	rounds := 0
	p.eventually("attached and detached 50 times", func() bool {
		for range 20 {
			loop.keys("C-]", "C-]", "C-]")
			time.Sleep(10 * time.Millisecond)
		}
		rounds++
		return strings.Contains(loop.screen(), "rounds=")
	})
	loop.shows("rounds=50")

	forward.Process.Signal(os.Interrupt)
	if err := forward.Wait(); err != nil {
		t.Errorf("forward exits with %v after Ctrl-C", err)
	}
	p.ctl("network", "unpublish", fmt.Sprintf("%d:7007", c)).ok()
	if answers(a, "gone") || answers(c, "gone") {
		t.Error("a port answers after forward has exited")
	}
	p.command("pkill", "-f", "claude-vm-ctl shell . -- python3")
	p.eventually("the guest has the same processes and files as before", func() bool { return guestProcesses() == before })
	// QEMU may not have closed the connection of guestProcesses when filesBefore was counted.
	p.eventually("QEMU has no more files than before", func() bool { return files() <= filesBefore })

	forward = p.spawn("", "claude-vm-ctl", "forward", fmt.Sprintf("%d:7007", c))
	shell := p.spawn("", "claude-vm-ctl", "shell", ".", "--", "sleep", "4321")
	p.eventually("the command runs in the guest", func() bool { return p.root("pgrep -f '^sleep 4321$'").status == 0 })
	p.ctl("stop", ".").ok()
	shell.wait().fails(123, "the VM on "+p.dir+" was stopped", "claude-vm-ctl logs")
	forward.wait().fails(123, "the VM on "+p.dir+" was stopped", "claude-vm-ctl logs")
	p.wantGone()
}

// noneLeft checks the errors when all connections to the VM are in use. It locks all ports
// that are free.
func (p *project) noneLeft() {
	p.t.Helper()
	for i := range contract.SSHPorts {
		lock := p.portLock(i)
		defer lock.Close()
		unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) // or it is in use already
	}
	p.ctl("shell", ".").fails(1, p.dir+": all 16 connections to the VM are in use", "pgrep -af claude-vm-ctl")
}

// portLock opens the lock file of the i-th port.
func (p *project) portLock(i int) *os.File {
	p.t.Helper()
	lock, err := os.OpenFile(filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "claude-vm", p.id, contract.SSHLock(i)), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		p.t.Fatal(err)
	}
	return lock
}

// TestEight runs eight VMs at once, as many as two users might.
func TestEight(t *testing.T) {
	t.Parallel()
	var projects []*project
	var names []string
	for i := range 8 {
		p := newProject(t, fmt.Sprint("number ", i))
		// Eight emulated guests on a slow machine take longer than one.
		p.dropin(p.unit(), "slow.conf", "TimeoutStartSec=15min\nTimeoutStopSec=5min")
		projects, names = append(projects, p), append(names, p.unit())
	}
	first := projects[0]
	first.systemctl(append([]string{"start"}, names...)...).ok()
	for _, p := range projects {
		if l := first.list(p.dir); l == nil || l.State != "active" || l.Status != "Claude Code is running" || l.MemoryCurrent == 0 {
			t.Errorf("%s in the list: %+v", p.dir, l)
		}
		p.write("mine", p.dir)
		p.want(p.ctl("shell", ".", "--", "cat", "mine"), p.dir)
	}
	first.systemctl(append([]string{"stop"}, names...)...).ok()
	for _, p := range projects {
		p.wantGone()
	}
}
