//go:build e2e

package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/t0mpr1c3/claude-microvm/internal/instance"
)

// TestVerify checks that systemd-analyze verify has no warnings about the units.
func TestVerify(t *testing.T) {
	t.Parallel()
	p := newProject(t, "verify")
	r := p.command("systemd-analyze", append([]string{"--user", "--man=no", "verify", instance.Slice, instance.SnapshotUnit("0")}, instance.Units(p.id)...)...).ok()
	if r.stdout+r.stderr != "" {
		t.Errorf("systemd-analyze verify: %s%s", r.stdout, r.stderr)
	}
}

// TestExposure limits the exposure level that systemd-analyze security reports (lower is
// better). It does not support user units and assumes that they run as root.
func TestExposure(t *testing.T) {
	t.Parallel()
	p := newProject(t, "exposure")
	p.start()
	budgets := map[*instance.Part]float64{
		instance.VM:         1.5,
		instance.Gateway:    2,
		instance.Virtiofsd:  2, // namespaces and mounts for its own sandbox
		instance.Scratch:    2,
		instance.SSHAgent:   2,
		instance.PartFailed: 2,
		instance.Ask:        2,
		instance.Fetch:      9.5, // not confined: it runs the commands of the user
		instance.Console:    2,
		instance.Guard:      2,
		instance.Runtime:    2,
		// It has to run where user namespaces are not permitted, and needs the home.
		instance.Setup:  6,
		instance.Resume: 2,
	}
	for _, part := range instance.Parts {
		if part.Suffix != "" { // runs no process
			continue
		}
		budget, found := budgets[part]
		if !found {
			t.Errorf("%s has no budget", part.Unit(p.id))
		}
		p.wantExposure(part.Unit(p.id), budget)
	}
	p.wantExposure(instance.SnapshotUnit("0"), 1.5)
	p.wantNotSkipped()
	p.wantConfined()
	p.wantOwnPIDs()
	p.systemctl("stop", p.unit()).ok()
	p.wantGone() // starting a helper that is still active would do nothing
	p.wantHelpersConfined()
	p.wantFailClosed()
	p.wantInsecure()
}

// wantExposure checks the exposure level of a unit.
func (p *project) wantExposure(unit string, budget float64) {
	p.t.Helper()
	r := p.command("systemd-analyze", "--user", "security", "--no-pager", unit)
	m := regexp.MustCompile(`Overall exposure level for .*: ([0-9.]+)`).FindStringSubmatch(r.stdout)
	if m == nil {
		p.t.Fatalf("systemd-analyze security: %s%s", r.stdout, r.stderr)
	}
	if got, err := strconv.ParseFloat(m[1], 64); err != nil || got > budget {
		p.t.Errorf("%s: exposure %s, want at most %v\n%s", unit, m[1], budget, r.stdout)
	}
	p.t.Logf("%s: exposure %s, budget %v", unit, m[1], budget)
}

// wantFailClosed checks that a VM does not start if systemd has not set up a part of the sandbox.
// A drop-in without that part has the same effect.
func (p *project) wantFailClosed() {
	p.t.Helper()
	for _, probe := range []struct {
		part             *instance.Part
		settings, reason string
	}{
		{instance.VM, "PrivateNetwork=no", "PrivateNetwork= has no effect: the network is the host's"},
		{instance.VM, "ProtectHome=no\nTemporaryFileSystem=\nTemporaryFileSystem=/tmp", "ProtectHome= has no effect: the process sees " + os.Getenv("HOME")},
		{instance.Virtiofsd, "ProtectSystem=no", "ProtectSystem= has no effect: / is writable"},
		{instance.Gateway, "CapabilityBoundingSet=CAP_CHOWN", "CapabilityBoundingSet= has no effect: CapBnd is "},
		{instance.Gateway, "ProtectSystem=no", "ProtectSystem= has no effect: / is writable"},
	} {
		p.dropin(probe.part.Unit(p.id), "probe.conf", strings.Split(probe.settings, "\n")...)
		r := p.ctl("start", ".")
		if r.status != 122 || !strings.Contains(r.stderr, probe.reason) {
			p.t.Errorf("%s: status %d, %s", probe.settings, r.status, r.stderr)
		}
		p.dropin(probe.part.Unit(p.id), "probe.conf")
		p.systemctl("reset-failed", probe.part.Unit(p.id))
		p.wantGone2()
	}
}

// wantInsecure checks that a VM starts without a part of the sandbox if exactly this part is accepted,
// and that this is shown.
func (p *project) wantInsecure() {
	p.t.Helper()
	p.dropin(p.unit(), "probe.conf", "PrivateNetwork=no")
	r := p.ctl("start", "--insecure=ProtectHome,ProtectSystem", ".")
	if r.status != 122 || !strings.Contains(r.stderr, "PrivateNetwork= has no effect: the network is the host's; --insecure=PrivateNetwork accepts this") {
		p.t.Errorf("with another insecurity: status %d, %s", r.status, r.stderr)
	}
	p.systemctl("reset-failed", p.unit())
	p.wantGone2()
	p.ctl("start", "--insecure=PrivateNetwork", ".").ok()
	if l := p.list(p.dir); l == nil || !slices.Equal(l.Insecure, []string{"PrivateNetwork"}) {
		p.t.Errorf("list --json: %+v", l)
	}
	if got := p.ctl("status", ".").stdout; !strings.Contains(got, "\n  Insecure: may run without PrivateNetwork\n") {
		p.t.Errorf("status: %s", got)
	}
	if got := p.command("script", "--quiet", "--command", "claude-vm-ctl list", "/dev/null").stdout; !strings.Contains(got, "\x1b[31m~/TestExposure/exposure") {
		p.t.Errorf("list on a terminal: %q", got)
	}
	const reason = "PrivateNetwork= has no effect: the network is the host's; accepted by Insecure="
	if got := p.journal(); strings.Count(got, reason) != 1 {
		p.t.Errorf("journal: %s", tail(got, 60))
	}
}

// wantHelpersConfined starts the helpers, which exit too soon to look at them, with
// commands that fail without a sandbox.
func (p *project) wantHelpersConfined() {
	p.t.Helper()
	readOnly := `ExecStart=/bin/sh -c "! touch /var/tmp/%N"`
	noHome := `ExecStart=/bin/sh -c "! ls %h/.config"` // two of them see the directory of snapshots
	p.dropin(instance.Setup.Unit(p.id), "probe.conf", readOnly)
	p.dropin(instance.Runtime.Unit(p.id), "probe.conf", readOnly, noHome)
	p.dropin(instance.PartFailed.Unit(p.id), "probe.conf", readOnly, noHome)
	p.systemctl("start", instance.Setup.Unit(p.id)).ok()
	p.systemctl("start", instance.PartFailed.Unit(p.id)).ok()
	p.dropin(instance.Resume.Unit(p.id), "probe.conf", readOnly, noHome)
	p.systemctl("start", instance.Resume.Unit(p.id)).ok()
}

// wantNotSkipped looks for what the user manager reports of a namespace that it
// may not make and goes on without.
func (p *project) wantNotSkipped() {
	p.t.Helper()
	args := []string{"--user", "--quiet", "--grep=proceeding without|namespac.*ignoring"}
	for _, unit := range instance.Units(p.id) {
		args = append(args, "--unit="+unit)
	}
	// The second process of a user unit, here ExecStartPost=, cannot have a network namespace.
	// QEMU is the first, which wantNoNetwork checks.
	for line := range strings.Lines(p.command("journalctl", args...).stdout) {
		if !strings.Contains(line, p.unit()+": PrivateNetwork=yes is configured") {
			p.t.Errorf("a part of the sandbox was skipped: %s", line)
		}
	}
}

// wantConfined checks which files the processes can see, because systemd ignores
// namespaces that it is not permitted to create.
func (p *project) wantConfined() {
	p.t.Helper()
	// QEMU: empty home directories, and only its own part of the runtime directory.
	for dir, want := range map[string]string{
		"/home": filepath.Base(os.Getenv("HOME")), os.Getenv("HOME"): "", "/root": "", os.Getenv("XDG_RUNTIME_DIR"): "claude-vm systemd",
		filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "claude-vm"): "." + p.id + ".record " + p.id,
		filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "systemd"):   "notify",
	} {
		if got := names(p, filepath.Join(p.rootOf(p.unit()), dir)); got != want {
			p.t.Errorf("QEMU sees %q in %s, want %q", got, dir, want)
		}
	}
	// virtiofsd: only the work directory, in a read-only root directory.
	p.write("only", "")
	share := p.rootOf(instance.Virtiofsd.Unit(p.id))
	if root, work := names(p, share), names(p, filepath.Join(share, "work")); root != "work" || work != "only" {
		p.t.Errorf("virtiofsd sees %q, and %q in work", root, work)
	}
	if err := os.WriteFile(filepath.Join(share, "beside"), nil, 0o600); !errors.Is(err, syscall.EROFS) {
		p.t.Errorf("something can be put beside work: %v", err)
	}
}

// wantOwnPIDs checks that virtiofsd's worker, which handles requests of the guest, cannot signal other
// processes.
func (p *project) wantOwnPIDs() {
	p.t.Helper()
	pid := p.mainPID(instance.Virtiofsd.Unit(p.id))
	children, _ := filepath.Glob(filepath.Join("/proc", pid, "task/*/children"))
	var workers []string
	for _, file := range children {
		text, _ := os.ReadFile(file)
		workers = append(workers, strings.Fields(string(text))...)
	}
	own, _ := os.Readlink(filepath.Join("/proc", pid, "ns/pid"))
	worker := ""
	for _, pid := range workers {
		if name, _ := os.ReadFile(filepath.Join("/proc", pid, "comm")); string(name) == "virtiofsd\n" {
			worker, _ = os.Readlink(filepath.Join("/proc", pid, "ns/pid"))
		}
	}
	if worker == "" || worker == own {
		p.t.Errorf("virtiofsd's worker has the PID namespace %q, virtiofsd %q", worker, own)
	}
}

// rootOf returns the root directory of a unit's main process.
func (p *project) rootOf(unit string) string {
	p.t.Helper()
	pid := strings.TrimSpace(p.systemctl("show", "--value", "--property=MainPID", unit).ok().stdout)
	return filepath.Join("/proc", pid, "root")
}

func names(p *project, dir string) string {
	p.t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		p.t.Error(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}
