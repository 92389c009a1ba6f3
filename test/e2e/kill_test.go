//go:build e2e

package e2e

import (
	"strings"
	"testing"
)

// TestKill checks that kill stops a VM at once and leaves nothing behind, even with
// Restart=.
func TestKill(t *testing.T) {
	t.Parallel()
	p := newProject(t, "kill")
	p.ctl("kill").fails(120, "no VM is running on "+p.dir, "claude-vm-ctl list")
	p.vmFile("[Service]\nRestart=on-failure\nRestartSec=0\n")
	p.start()

	t.Log("with --signal: the signal has its usual effect, here a restart")
	before := p.property("MainPID")
	p.ctl("kill", "--signal=SIGKILL").ok()
	p.eventually("systemd restarts it", func() bool { return p.property("MainPID") != before && p.property("MainPID") != "0" })

	t.Log("while the VM starts")
	p.ctl("kill").ok()
	p.stayDead()

	t.Log("while the VM hangs during a stop")
	p.start()
	p.ctl("kill", "-s", "stop").ok()
	p.systemctl("stop", "--no-block", p.unit()).ok()
	p.eventually("the unit stops", func() bool { return p.property("ActiveState") == "deactivating" })
	p.ctl("kill").ok()
	p.stayDead()
	p.ctl("kill", "-s", "TERM").fails(120, "no VM is running on "+p.dir, "claude-vm-ctl list")
}

// stayDead checks, without waiting, that the instance is stopped and no job is queued.
func (p *project) stayDead() {
	p.t.Helper()
	for name, want := range map[string]string{"ActiveState": "inactive", "Result": "success", "Job": ""} {
		if got := p.property(name); got != want {
			p.t.Errorf("after kill, %s=%s, want %s", name, got, want)
		}
	}
	if out := p.systemctl("list-units", "--all", "--plain", "--no-legend", "--state=failed", "claude-vm*@"+strings.ReplaceAll(p.id, `\`, `\\`)+".service").stdout; out != "" {
		p.t.Errorf("failed units after kill:\n%s", out)
	}
	if journal := p.journal(); strings.Contains(journal, "power button pressed") {
		p.t.Error("kill has pressed the guest's power button")
	}
	p.wantGone()
}
