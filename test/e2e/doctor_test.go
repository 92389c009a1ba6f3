//go:build e2e

package e2e

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestDoctor: everything is there, and is said.
// Not parallel, since TestMissing takes things away.
func TestDoctor(t *testing.T) {
	p := newProject(t, "doctor")
	var findings []struct{ Check, State, Fact, Reason, Mend string }
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
		"memory":            "",
		"runtime directory": "",
	}
	for _, f := range findings {
		want, certain := facts[f.Check]
		switch {
		case f.Check == "KVM" || f.Check == "clock": // the machine's matter
		case !certain:
			t.Errorf("an unknown check: %+v", f)
		case f.State == "warn" && (f.Check == ".vm files" || f.Check == "generator"): // other tests have faults
		case f.State != "ok" || !strings.HasPrefix(f.Fact, want) || f.Fact == "" || f.Reason+f.Mend != "":
			t.Errorf("%+v, want ok and %s", f, want)
		}
		delete(facts, f.Check)
	}
	if len(facts) > 0 {
		t.Errorf("not checked: %v", facts)
	}
}
