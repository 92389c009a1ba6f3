//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/t0mpr1c3/claude-microvm/internal/instance"
)

// TestVerify wants systemd to have nothing to say about the units.
func TestVerify(t *testing.T) {
	t.Parallel()
	p := newProject(t, "verify")
	r := p.command("systemd-analyze", "--user", "--man=no", "verify",
		p.unit(), instance.ShareUnit(p.id), instance.SetupUnit(p.id), `app-claude\x2dvm.slice`).ok()
	if r.stdout+r.stderr != "" {
		t.Errorf("systemd-analyze verify: %s%s", r.stdout, r.stderr)
	}
}

// TestExposure holds the units to a budget of systemd-analyze security; lower
// is better. It knows nothing of user units and counts that they "run as root".
func TestExposure(t *testing.T) {
	t.Parallel()
	p := newProject(t, "exposure")
	p.start()
	for unit, budget := range map[string]float64{p.unit(): 4.5, instance.ShareUnit(p.id): 4.5} {
		r := p.command("systemd-analyze", "--user", "security", "--no-pager", unit)
		m := regexp.MustCompile(`Overall exposure level for .*: ([0-9.]+)`).FindStringSubmatch(r.stdout)
		if m == nil {
			t.Fatalf("systemd-analyze security: %s%s", r.stdout, r.stderr)
		}
		if got, err := strconv.ParseFloat(m[1], 64); err != nil || got > budget {
			t.Errorf("%s: exposure %s, want at most %v\n%s", unit, m[1], budget, r.stdout)
		}
	}
	p.wantConfined()
}

// wantConfined looks at what the processes see, for systemd goes on without a
// namespace that it may not make.
func (p *project) wantConfined() {
	p.t.Helper()
	for unit, sees := range map[string]bool{p.unit(): false, instance.ShareUnit(p.id): true} {
		pid := p.systemctl("show", "--value", "--property=MainPID", unit).ok().stdout
		root := filepath.Join("/proc", pid[:len(pid)-1], "root")
		home := os.Getenv("HOME")
		if entries, err := os.ReadDir(filepath.Join(root, home)); err != nil {
			p.t.Error(err)
		} else if len(entries) > 1 || len(entries) == 1 && entries[0].Name() != "work" {
			p.t.Errorf("%s sees %v in the home directory", unit, entries)
		}
		if entries, err := os.ReadDir(filepath.Join(root, home, "work")); sees != (err == nil) {
			p.t.Errorf("%s: work directory: %v, %v", unit, entries, err)
		}
		if _, err := os.Stat(filepath.Join(root, os.Getenv("XDG_RUNTIME_DIR"), "bus")); err == nil {
			p.t.Errorf("%s sees the user's D-Bus", unit)
		}
		own, _ := os.Readlink("/proc/self/ns/mnt")
		if its, err := os.Readlink(filepath.Join(root, "..", "ns/mnt")); err == nil && its == own {
			p.t.Errorf("%s has no mount namespace of its own", unit)
		}
	}
}
