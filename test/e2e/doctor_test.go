//go:build e2e

package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/t0mpr1c3/claude-microvm/internal/instance"
)

// TestDoctor checks the findings on a machine on which nothing is missing.
// It is not parallel, because TestMissing removes parts.
func TestDoctor(t *testing.T) {
	p := newProject(t, "doctor")
	var findings []struct{ Check, State, Fact, Reason, Fix string }
	if err := json.Unmarshal([]byte(p.ctl("doctor", "--json").ok().stdout), &findings); err != nil {
		t.Fatal(err)
	}
	version := strings.TrimSpace(p.ctl("--version").ok().stdout)
	facts := map[string]string{
		"user manager":      "systemd ",
		"lingering":         "on: ",
		"units":             "version " + version + ", in /usr/local/lib/systemd/user",
		"generator":         "version " + version + ", /usr/local/lib/systemd/user-generators/claude-vm-generator",
		".vm files":         "",
		"guest bundle":      "debian-13 claude-" + pinned(t) + " ",
		"QEMU":              "1",
		"virtiofsd":         "1.",
		"user namespaces":   "permitted",
		"limits":            "the user manager has the controllers ",
		"memory":            "",
		"scratch disks":     "",
		"snapshots":         "",
		"open files":        "up to 524288 for each VM",
		"runtime directory": "",
		"network":           "",
		"login":             "API key, not encrypted, in ",
		"guest build":       "possible from container images",
	}
	for _, f := range findings {
		want, certain := facts[f.Check]
		switch {
		case f.Check == "KVM" || f.Check == "clock": // depends on the machine
		case f.Check == "open files" && f.State == "warn" && strings.HasPrefix(f.Reason, "up to ") && f.Fix != "": // so does the limit
		case f.Check == "limits" && f.State == "warn" && strings.HasPrefix(f.Reason, "a VM can use up the machine: ") && f.Fix != "": // so do the controllers
		case f.Check == "scratch disks" && f.State == "warn" && strings.Contains(f.Reason, " free in ") && f.Fix != "": // so does the space
		case f.Check == "snapshots" && f.State == "warn" && strings.Contains(f.Reason, " are free, so no more are made") && f.Fix != "": // and here
		case f.Check == "network": // the test's CA is not among those of the system
			if f.State != "warn" || f.Reason != "api.anthropic.com: tls: failed to verify certificate: x509: certificate signed by unknown authority" || !strings.Contains(f.Fix, "ExtraCA=") {
				t.Errorf("%+v", f)
			}
		case !certain:
			t.Errorf("unknown check: %+v", f)
		case f.State == "warn" && (f.Check == ".vm files" || f.Check == "generator"): // other tests have invalid files
		case f.State != "ok" || !strings.HasPrefix(f.Fact, want) || f.Fact == "" || f.Reason+f.Fix != "":
			t.Errorf("%+v, want ok and %s", f, want)
		}
		delete(facts, f.Check)
	}
	if len(facts) > 0 {
		t.Errorf("missing checks: %v", facts)
	}
	p.unfitUnits()
	const generator = "/usr/local/lib/systemd/user-generators/claude-vm-generator"
	other := `mount -t tmpfs none "${1%/*}" && printf '#!/bin/sh\necho other\n' >"$1" && chmod 755 "$1" && exec claude-vm-ctl doctor`
	p.command("unshare", "--user", "--map-current-user", "--keep-caps", "--mount", "sh", "-c", other, "sh", generator).finds(0,
		"warn  generator: "+generator+" is version other, claude-vm-ctl is version "+version, "make install && systemctl --user daemon-reload")
}

// TestKernelRefuses checks errors of the kernel and of name services that do not occur on
// this machine, so the test simulates them.
func TestKernelRefuses(t *testing.T) {
	t.Parallel()
	p := newProject(t, "refuses")
	without := func(call, answer string, command ...string) result {
		t.Helper()
		return p.command("systemd-run", append([]string{"--user", "--quiet", "--pipe", "--wait",
			"--property=SystemCallFilter=~" + call, "--property=SystemCallErrorNumber=" + answer}, command...)...)
	}
	if said := without("adjtimex", "EPERM", "claude-vm-ctl", "doctor").ok().stdout; !strings.Contains(said, "\nwarn  clock: adjtimex: operation not permitted\n      not checked: ") {
		t.Errorf("doctor with adjtimex denied: %s", said)
	}
	dir := t.TempDir()
	r := without("flock", "ENOLCK", "claude-vm-generator", dir)
	if want := "claude-vm-generator: error: lock " + dir + ": no locks available\n"; r.status != 1 || r.stdout+r.stderr != want {
		t.Errorf("claude-vm-generator with flock denied: status %d, %s%s", r.status, r.stdout, r.stderr)
	}

	// A user who is not in /etc/passwd, and a getent that does not return.
	getent := filepath.Join(dir, "getent")
	writeFile(getent, "#!/bin/sh\nexec sleep 20\n")
	p.command("chmod", "755", getent).ok()
	r = p.command("unshare", "--user", "--map-user=4242", "env", "HOME=/", "PATH="+dir+":"+os.Getenv("PATH"), "claude-vm-ctl", "doctor")
	if !strings.Contains(r.stdout, "\nfail  .vm files: timed out reading the .vm files\n") {
		t.Errorf("doctor with a getent that hangs: %s", r.stdout)
	}
}

// finds wants doctor to exit with this status and to print this finding.
func (r result) finds(status int, finding, fix string) {
	r.t.Helper()
	if r.status != status || !strings.Contains("\n"+r.stdout, "\n"+finding+"\n      fix: "+fix+"\n") {
		r.t.Errorf("%s: status %d, want %d and %s; fix: %s\n%s", r.what, r.status, status, finding, fix, r.stdout)
	}
}

// unfitUnits checks what doctor reports about units that cannot be used. doctor checks the
// units of the instance "-", which belongs to no directory.
func (p *project) unfitUnits() {
	p.t.Helper()
	dir := filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "systemd/user")
	path, dropin := filepath.Join(dir, instance.SSHAgent.Unit("-")), filepath.Join(dir, instance.Setup.Unit("-")+".d")
	defer func() {
		os.Remove(path)
		os.RemoveAll(dropin)
		p.systemctl("reset-failed", instance.Setup.Unit("-"))
		p.systemctl("daemon-reload").ok()
	}()
	if err := os.Symlink(os.DevNull, path); err != nil {
		p.t.Fatal(err)
	}
	p.systemctl("daemon-reload").ok()
	const template = "claude-vm-ssh-agent@.service"
	p.ctl("doctor").finds(121, "fail  units: "+template+" is masked", "systemctl --user unmask "+template)
	if err := os.Remove(path); err != nil {
		p.t.Fatal(err)
	}
	for text, c := range map[string][2]string{
		"Type=exec":                        {" cannot be loaded: bad-setting", "systemctl --user status " + instance.SSHAgent.Unit("-")},
		"ExecStart=/nowhere/claude-vm-ctl": {" runs /nowhere/claude-vm-ctl, which does not exist", "make install && systemctl --user daemon-reload"},
	} {
		writeFile(path, "[Service]\n"+text+"\n")
		p.systemctl("daemon-reload").ok()
		p.ctl("doctor").finds(121, "fail  units: "+template+c[0], c[1])
	}
	if err := os.Remove(path); err != nil {
		p.t.Fatal(err)
	}
	p.systemctl("daemon-reload").ok()
	p.systemctl("start", instance.Setup.Unit("-")) // fails, and a failed unit stays loaded
	writeFile(filepath.Join(dropin, "50-test.conf"), "[Service]\n")
	p.ctl("doctor").finds(0, "warn  units: "+instance.Setup.Unit("")+" has changed since the user manager read it", "systemctl --user daemon-reload")
}
