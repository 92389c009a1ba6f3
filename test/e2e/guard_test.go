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

// TestGuard checks that the user learns of files that the guest's root has planted for programs
// of the host, until they are accepted.
func TestGuard(t *testing.T) {
	t.Parallel()
	p := newProject(t, "guard")
	p.command("git", "init", "-q", ".").ok()
	writeFile(filepath.Join(p.dir, "Makefile"), "all:\n")
	t.Cleanup(func() { p.vmFile("[Share]\nGuard=no\n"); p.ctl("start"); p.ctl("stop") }) // removes what is kept

	r := p.ctl("start", ".").ok()
	if r.stderr != "" {
		t.Errorf("warnings without changes: %s", r.stderr)
	}
	p.root(`cd /work; echo . >.git/commondir; mkdir .husky 'a\nb'; echo evil >.husky/pre-commit; echo >"a\\nb/.envrc"; echo evil >>Makefile
		git init -q vendor; git -C vendor config core.fsmonitor evil; printf '\033[31m' >".envrc"`).ok()
	if got := p.ctl("guard").ok().stdout; !strings.Contains(got, "new      .git/commondir\n") {
		t.Errorf("guard while the VM runs: %s", got)
	}
	r = p.ctl("stop", ".")
	const accept = "claude-vm-ctl: warning: 1 more; see claude-vm-ctl guard\n"
	for _, want := range []string{
		"warning: .git/commondir was created during the run; git uses another directory in place of this one\n",
		"warning: vendor/.git was created during the run; git obeys it\n", "warning: .envrc was created", accept,
	} {
		if r.status != 0 || !strings.Contains(r.stderr, want) {
			t.Errorf("stop: status %d, want %q in %s", r.status, want, r.stderr)
		}
	}
	p.wantGone()
	entry := p.command("journalctl", "--user", "-o", "json", "-n1", "_SYSTEMD_USER_UNIT="+instance.Guard.Unit(p.id), "SYSLOG_IDENTIFIER=claude-vm-guard").ok().stdout
	if !strings.Contains(entry, `"CLAUDE_VM_GUARD_NEW":"5"`) || !strings.Contains(entry, `"CLAUDE_VM_GUARD_CHANGED":"1"`) {
		t.Errorf("journal: %q", entry)
	}
	if err := os.Remove(filepath.Join(p.dir, ".git/commondir")); err != nil {
		t.Fatal(err)
	}
	r = p.ctl("start", ".").ok()
	if strings.Contains(r.stderr, "commondir") || !strings.Contains(r.stderr, "vendor/.git was created") {
		t.Errorf("the next start: %s", r.stderr)
	}
	p.root("rm -r /work/.husky; echo planted >/work/conftest.py; sync").ok()
	var found []struct{ Path, Change, What, Severity string }
	if err := json.Unmarshal([]byte(p.ctl("guard", "--json").ok().stdout), &found); err != nil {
		t.Fatal(err)
	}
	paths := map[string]string{}
	for _, f := range found {
		paths[strings.TrimPrefix(f.Path, p.dir+"/")] = f.Change + " " + f.Severity
	}
	if len(paths) != 5 || paths["vendor/.git"] != "new high" || paths["conftest.py"] != "new medium" || paths["Makefile"] != "changed low" {
		t.Errorf("guard --json: %v", paths)
	}
	p.ctl("guard", "accept", "nothing").fails(1, p.dir+"/nothing is not among the changes", "claude-vm-ctl guard")
	p.ctl("guard", "accept").ok()
	if r := p.ctl("stop", ".").ok(); r.stderr != "" {
		t.Errorf("stop after all was accepted: %s", r.stderr)
	}
	if got := p.ctl("guard").ok().stdout; got != "No file that programs of this machine execute or obey was changed.\n" {
		t.Errorf("guard: %s", got)
	}
}
