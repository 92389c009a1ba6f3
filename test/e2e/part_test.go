//go:build e2e

package e2e

import (
	"testing"

	"github.com/t0mpr1c3/claude-microvm/internal/instance"
)

// TestPartFails checks that a start that fails because of one part leaves no other part running,
// whoever starts the VM.
func TestPartFails(t *testing.T) {
	t.Parallel()
	p := newProject(t, "part")
	for _, part := range []*instance.Part{instance.Guard, instance.Console, instance.Scratch} {
		// Later than all parts that do not depend on it.
		p.dropin(part.Unit(p.id), "90-fails.conf", "Type=oneshot", "ExecStart=", `ExecStart=sh -c "sleep 2; echo no luck >&2; exit 1"`)
		p.ctl("start").fails(122, "the VM on "+p.dir+" did not start: no luck", "claude-vm-ctl logs")
		p.wantStopped()
		if r := p.systemctl("start", p.unit()); r.status == 0 {
			t.Errorf("the VM started without %s", part.Name)
		}
		p.wantStopped()
		p.dropin(part.Unit(p.id), "90-fails.conf")
	}
}

// wantStopped waits until no unit of the instance runs. Besides the part that has failed, those can
// fail that were starting when they were stopped.
func (p *project) wantStopped() {
	p.t.Helper()
	p.eventually("all units have stopped", func() bool {
		running := append([]string{"list-units", "--plain", "--no-legend", "--state=active,activating,deactivating"}, instance.Units(p.id)...)
		if p.systemctl(running...).ok().stdout != "" {
			return false
		}
		for _, unit := range instance.Units(p.id) {
			p.systemctl("reset-failed", unit)
		}
		loaded := append([]string{"list-units", "--all", "--plain", "--no-legend"}, instance.Units(p.id)...)
		return p.systemctl(loaded...).ok().stdout == ""
	})
	p.wantGone()
}
