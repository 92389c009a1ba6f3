//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/t0mpr1c3/claude-microvm/internal/instance"
)

// bombs use up what a guest has, all at once and without an end.
var bombs = []string{
	"bomb() { bomb | bomb & }; bomb",
	"tail /dev/zero",
	"while :; do dd if=/dev/zero of=/tmp/full bs=1M; done",
	"yes flood >/dev/ttyS0",
	"for i in $(seq 20000); do : >/work/file-$i; done",
	"for i in $(seq 5000); do exec {fd}<>/dev/tcp/192.0.2.1/80; done",
}

// TestBombs checks that a guest that uses up all it can does not keep another VM and the user manager
// from answering, and that it can be stopped.
func TestBombs(t *testing.T) {
	t.Parallel()
	p, q := newProject(t, "bombs"), newProject(t, "other")
	p.vmFile("Scratch=128M\n")
	p.start()
	q.start()
	p.wantLimits()
	// bash, because sh has neither {fd} nor /dev/tcp.
	for _, bomb := range bombs {
		p.spawn("", "claude-vm-ctl", "shell", "--root", ".", "--", "setsid", "-f", "bash", "-c", bomb)
	}
	p.spawn("", "sh", "-c", "exec claude-vm-ctl shell . -- yes >/dev/null")
	p.eventually("the guest does not answer any more", func() bool {
		return p.command("timeout", "10", "claude-vm-ctl", "shell", ".", "--", "true").status != 0
	})
	const slow = time.Minute // on two processors, without KVM
	for range 5 {
		start := time.Now()
		if got := q.guest("echo alive"); got != "alive\n" {
			t.Errorf("the other VM answers %q", got)
		}
		if l := q.list(q.dir); l == nil || l.State != "active" {
			t.Errorf("the other VM: %+v", l)
		}
		if took := time.Since(start); took > slow {
			t.Errorf("the other VM and the user manager answered after %v", took)
		}
	}
	start := time.Now()
	switch r := p.ctl("stop", "."); r.status {
	case 0:
	case 120: // the guest's kernel has killed Claude, whose end is the end of the VM
		r.fails(120, "no VM is running on "+p.dir, "claude-vm-ctl list")
		if got := p.property("ActiveState"); got != "failed" {
			t.Errorf("the VM that does not run is %s", got)
		}
	default:
		r.fails(1, "the guest did not shut down in time and was killed", "claude-vm-ctl logs")
	}
	if took := time.Since(start); took > 2*slow {
		t.Errorf("the VM stopped after %v", took)
	}
	p.wantGone2()
	if got := q.guest("echo alive"); got != "alive\n" {
		t.Errorf("the other VM answers %q", got)
	}
}

// wantLimits checks that each unit and the slice have limits, and that the kernel has them if there is
// a memory controller.
func (p *project) wantLimits() {
	p.t.Helper()
	const unlimited = "infinity"
	show := func(unit, property string) string {
		return strings.TrimSpace(p.systemctl("show", "--value", "--property="+property, unit).ok().stdout)
	}
	for _, part := range instance.Parts {
		if got := show(part.Unit(p.id), "TasksMax"); part.Suffix == "" && got != "512" && got != "64" {
			p.t.Errorf("TasksMax=%s of %s", got, part.Name)
		}
	}
	for _, unit := range []string{p.unit(), instance.Virtiofsd.Unit(p.id)} {
		if got := show(unit, "MemoryMax"); got != "5905580032" {
			p.t.Errorf("MemoryMax=%s of %s", got, unit)
		}
	}
	for _, property := range []string{"MemoryMax", "TasksMax"} {
		if got := show(instance.Slice, property); got == "" || got == unlimited {
			p.t.Errorf("%s=%s of the slice", property, got)
		}
	}
	for _, property := range []string{"CPUWeight", "IOWeight"} {
		if got := show(instance.Slice, property); got != "50" {
			p.t.Errorf("%s=%s of the slice", property, got)
		}
	}
	cgroup := filepath.Join("/sys/fs/cgroup", p.property("ControlGroup"))
	text, err := os.ReadFile(filepath.Join(cgroup, "memory.max"))
	if err != nil {
		p.t.Logf("the user manager has no memory controller: %v", err)
	} else if got := strings.TrimSpace(string(text)); got != "5905580032" {
		p.t.Errorf("memory.max is %s", got)
	}
}
