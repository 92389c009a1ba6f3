//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // the test host has no time zones
)

// TestHostAttributes checks what the guest takes over from the host and from the caller's
// environment. The test host's time zone is Europe/Berlin; see scripts/test.
func TestHostAttributes(t *testing.T) {
	t.Parallel()
	p := newProject(t, "attributes")
	p.command("git", "init", "-q").ok()
	p.command("env", "ANTHROPIC_UNIX_SOCKET=/run/nothing.sock", "CLAUDE_CODE_SSE_PORT=1", "ANTHROPIC_SMALL=1",
		"LANG=xx_XX.UTF-8", "LC_TIME=C.UTF-8", "claude-vm-ctl", "start", ".").ok()

	if got := p.guest("readlink /etc/localtime; date +%Z; python3 -c 'import time; print(time.tzname[0])'"); got != "/usr/share/zoneinfo/Europe/Berlin\n"+berlin(t)+"\nCET\n" {
		t.Errorf("the time zone: %s", got)
	}
	if got := p.guest("env | grep -e ^ANTHROPIC_[US] -e ^CLAUDE_CODE_S -e ^LANG -e ^LC | sort; bash -lc :"); got != "ANTHROPIC_SMALL=1\nLANG=C.UTF-8\nLC_TIME=C.UTF-8\n" {
		t.Errorf("variables: %s", got)
	}
	if got := p.guest("cat /proc/sys/kernel/core_pattern /proc/sys/kernel/pid_max"); got != "core\n4194304\n" {
		t.Errorf("kernel variables: %s", got)
	}
	// The directory belongs to another user than root.
	if r := p.root("git status --porcelain"); r.status != 0 {
		t.Errorf("git as root: %s%s", r.stdout, r.stderr)
	}

	e := p.terminal("large", 80, 24, "stty rows 65535 cols 65535; claude-vm-ctl attach .")
	p.eventually("the terminal has the largest size", func() bool {
		return p.root("stty size </proc/$(pgrep -x claude | head -n 1)/fd/0").stdout == "320 640\n"
	})
	e.keys("C-]", "C-]", "C-]")
	e.shows("status=0")
}

// berlin returns the abbreviation of the time zone now.
func berlin(t *testing.T) string {
	t.Helper()
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	name, _ := time.Now().In(zone).Zone()
	return name
}

// TestDamagedHome starts with a kept home that has a broken file and a link.
func TestDamagedHome(t *testing.T) {
	t.Parallel()
	p := newProject(t, "damaged")
	p.vmFile("[Claude]\nHome=project\n")
	home := filepath.Join(os.Getenv("HOME"), ".local/state/claude-vm/project", p.id)
	writeFile(filepath.Join(home, ".claude.json"), `{"a`)
	writeFile(filepath.Join(home, "dotfiles/settings.json"), `{"cleanupPeriodDays": 7}`)
	if err := os.Mkdir(filepath.Join(home, ".claude"), 0o755); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(home, ".claude/settings.json")
	if err := os.Symlink("../dotfiles/settings.json", link); err != nil {
		t.Fatal(err)
	}
	r := p.ctl("run", ".", "--", "-p", "say: hello").ok()
	if r.stdout != "hello\n" || !strings.HasPrefix(r.stderr, "claude-vm: warning: /home/claude/.claude.json is not a JSON object: moved to /home/claude/.claude.json.invalid.") {
		t.Errorf("stdout %q, stderr %q", r.stdout, r.stderr)
	}
	if target, err := os.Readlink(link); err != nil || target != "../dotfiles/settings.json" {
		t.Errorf("the link: %q, %v", target, err)
	}
	text, err := os.ReadFile(link)
	if err != nil || !strings.Contains(string(text), `"cleanupPeriodDays": 7`) || !strings.Contains(string(text), `"skipDangerousModePermissionPrompt": true`) {
		t.Errorf("settings: %s, %v", text, err)
	}
	aside, err := filepath.Glob(filepath.Join(home, ".claude.json*"))
	if err != nil || len(aside) != 2 {
		t.Errorf("files: %q, %v", aside, err)
	}
}

// TestKeptHomes starts with kept homes of another version of Claude Code, on a full file system, and read-only.
func TestKeptHomes(t *testing.T) {
	t.Parallel()
	p := newProject(t, "homes")
	p.vmFile("[Claude]\nHome=project\n")
	home := filepath.Join(os.Getenv("HOME"), ".local/state/claude-vm/project", p.id)
	writeFile(filepath.Join(home, ".claude.json"), `{"lastOnboardingVersion": "99.1.0", "migrationVersion": 99, "future": {"a": [1]}, "projects": {"/x": {"future": 1}}}`)
	writeFile(filepath.Join(home, ".claude/settings.json"), `{"future": {"b": 2}}`)
	r := p.ctl("run", ".", "--", "-p", "say: hello").ok()
	if r.stdout != "hello\n" || r.stderr != "" {
		t.Errorf("another version: stdout %q, stderr %q", r.stdout, r.stderr)
	}
	if got := sh(t, home, "jq -c '[.future, .projects.\"/x\".future]' .claude.json; jq -c .future .claude/settings.json"); got != "[{\"a\":[1]},1]\n{\"b\":2}\n" {
		t.Errorf("another version: its settings are %s", got)
	}

	// scripts/test mounts a small file system there.
	const full = "/var/tmp/full"
	sh(t, full, "cat /dev/zero >fill 2>/dev/null || true")
	sh(t, "/", "rm -r "+word(home)+"; ln -s "+full+" "+word(home))
	p.unwritableHome("full")

	sh(t, full, "find . -mindepth 1 -delete; mkdir -m 500 .claude; chmod 500 .")
	p.unwritableHome("read-only")
	sh(t, full, "[ $(ls -A) = .claude ]; chmod 700 . .claude")
}

// unwritableHome checks that Claude Code runs with a home that cannot be written, with a warning. The exit status
// is Claude Code's, which can be 1 because it cannot store the session.
func (p *project) unwritableHome(what string) {
	p.t.Helper()
	r := p.ctl("run", ".", "--", "-p", "say: hello")
	if r.status > 1 || r.stdout != "hello\n" || !strings.Contains(r.stderr, "claude-vm: warning: cannot write /home/claude/.claude.json\n") {
		p.t.Errorf("%s: stdout %q, stderr %q", what, r.stdout, r.stderr)
	}
}

// TestFullOutput checks that run waits for the VM also if it cannot write its output.
func TestFullOutput(t *testing.T) {
	t.Parallel()
	p := newProject(t, "full")
	r := p.command("sh", "-c", `claude-vm-ctl run . -- -p "say: hello" >/dev/full`)
	if r.status != 1 || !strings.Contains(r.stderr, "no space left on device") {
		t.Errorf("status %d, stderr %q", r.status, r.stderr)
	}
	if state := p.property("ActiveState"); state != "inactive" && state != "failed" {
		t.Errorf("the VM is %s", state)
	}
	p.want(p.ctl("run", ".", "--", "-p", "say: again"), "again")
}
