//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/t0mpr1c3/claude-microvm/internal/instance"
)

// TestFaultyFile checks that an error in a file is in the journal with its line number, and
// that it prevents the start of this VM only.
func TestFaultyFile(t *testing.T) {
	t.Parallel()
	p, other := newProject(t, "faulty"), newProject(t, "other")
	file := p.vmFile("Memroy=1G\n[Share]\nHide=.env\n")
	other.vmFile("Memory=700M\n")
	fault := file + ":3: unknown key Memroy= in [VM]"
	p.eventually("the error is in the journal", func() bool {
		return strings.Contains(p.command("journalctl", "--user", "-b", "_COMM=claude-vm-gener", "--output=cat").stdout, fault+"\nhint: did you mean Memory=?\n")
	})
	for _, args := range [][]string{{"start"}, {"start", "--memory", "1G"}} {
		p.ctl(args...).fails(121, fault, "claude-vm-ctl edit "+strings.TrimSuffix(filepath.Base(file), ".vm"))
	}
	// A record that is left could match a later start, because another user manager may
	// assign the same job number again.
	record := filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "claude-vm/."+p.id+".record")
	if _, err := os.Stat(record); !os.IsNotExist(err) {
		t.Errorf("the record is left after a rejected start: %v", err)
	}
	p.systemctl("reset-failed", instance.Setup.Unit(p.id))
	if got := other.property("Environment"); !strings.Contains(got, "MEMORY=700M") {
		t.Errorf("environment of the other VM: %s", got)
	}
	if r := p.command("claude-vm-generator", "--check", file); r.status != 1 || r.stderr != fault+"\n\thint: did you mean Memory=?\n" {
		t.Errorf("--check: status %d, %s", r.status, r.stderr)
	}
	p.wantGone()
}

// TestGeneratedUnits checks that systemd has no warnings about generated units with values
// that need escaping.
func TestGeneratedUnits(t *testing.T) {
	t.Parallel()
	p := newProject(t, `odd "dir" $HOME, 100% \x`)
	odd := `a'b"c\d$e%f,g h`
	p.vmFile("QEMUArguments=-fw_cfg " + word("name=opt/x,string="+odd) + "\n[Claude]\nArguments=" + word(odd) + "\nEnvironment=" + word("X="+odd) +
		"\n[Share]\nReadOnly=" + word(odd) + "\nHide=" + word("deep/"+odd) + "\nMount=" + word("/srv/"+odd+":/mnt/"+odd) +
		"\n[Network]\nPublishPort=18443:443 18053:53/udp\n[Service]\nMemoryMax=2G\n[Install]\nWantedBy=never.target\n")
	r := p.command("systemd-analyze", "--user", "--man=no", "verify", p.unit(), instance.Virtiofsd.Unit(p.id), instance.Setup.Unit(p.id)).ok()
	if r.stdout+r.stderr != "" {
		t.Errorf("systemd-analyze verify: %s%s", r.stdout, r.stderr)
	}
	if got := p.systemctl("is-enabled", p.unit()).stdout; got != "enabled-runtime\n" {
		t.Errorf("is-enabled: %s", got)
	}
	// In the quoting of systemctl show.
	if got := p.systemctl("show", "--property=Environment", instance.Setup.Unit(p.id)).ok().stdout; !strings.Contains(got, `"HIDE=\"deep/a'b\\\"c\\\\d\$e%f,g h\""`) {
		t.Errorf("HIDE: %s", got)
	}
}
