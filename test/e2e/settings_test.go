//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/t0mpr1c3/claude-microvm/internal/instance"
)

// dropin writes a drop-in for one of the instance's units and removes it when the test ends.
// The name vmFile replaces the drop-in of the generator.
func (p *project) dropin(unit, name string, lines ...string) {
	p.t.Helper()
	dir := filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "systemd/user", unit+".d")
	writeFile(filepath.Join(dir, name), "[Service]\n"+strings.Join(lines, "\n")+"\n")
	p.systemctl("daemon-reload").ok()
	p.t.Cleanup(func() { os.RemoveAll(dir) })
}

const (
	vmFile   = "50-vm.conf"
	onceFile = "zz-overrides.conf"
)

// line returns a quoted Environment= line for a unit file.
func line(name, value string) string {
	return `Environment="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `%`, `%%`).Replace(name+"="+value) + `"`
}

// claude returns the command line of Claude's process, one argument per line.
func (p *project) claude() string {
	p.t.Helper()
	// Wait, because a script of the session starts first and then executes Claude.
	return p.guest(`until pid=$(pgrep -u claude -x claude); do sleep 0.1; done; tr '\0' '\n' </proc/$pid/cmdline`)
}

// wantMounts checks two mounts of a shared directory and a mount of its file.
func (p *project) wantMounts(shared string) {
	p.t.Helper()
	ro, rw := "'/home/claude/a/read only'", `'/mnt/`+strings.ReplaceAll(oddName, "'", `'\''`)+`'`
	if got := p.guest("cat " + ro + "/file; cat " + rw + "/file; cat /etc/one-file"); got != strings.Repeat("from the host", 3) {
		p.t.Errorf("read: %q", got)
	}
	p.guest("echo guest >" + rw + "/new; mkdir " + rw + "/deep")
	if got, err := os.ReadFile(filepath.Join(shared, "new")); string(got) != "guest\n" {
		p.t.Errorf("written: %q, %v", got, err)
	}
	for _, target := range []string{ro + "/new", ro + "/more", "/etc/one-file"} {
		r := p.root("mount -o remount,bind,rw " + ro + "; mount -o remount,rw " + ro + "; echo evil >" + target)
		if r.status == 0 || !strings.Contains(r.stderr, "Read-only file system") {
			p.t.Errorf("root in the guest can write %s: %s", target, r.stderr)
		}
	}
	if got := p.guest("stat -c %U ~/a ~ " + ro); got != "claude\nclaude\nclaude\n" {
		p.t.Errorf("owners: %s", got)
	}
	if got := p.guest("stat -c %d /work ~ " + ro + " | sort -u | wc -l"); got != "3\n" {
		p.t.Errorf("different devices of /work, the home directory and a mount: %s, want 3", got)
	}
}

// wantHome checks a new persistent home directory, which is kept in dir below the state
// directory, and the settings in it.
func (p *project) wantHome(dir string) {
	p.t.Helper()
	got := p.guest("ls ~/.bashrc; jq -c '[.cleanupPeriodDays, .skipDangerousModePermissionPrompt]' ~/.claude/settings.json; echo kept >~/kept")
	if got != "/home/claude/.bashrc\n[7,true]\n" {
		p.t.Errorf("content of the home directory: %s", got)
	}
	state := filepath.Join(os.Getenv("HOME"), ".local/state/claude-vm")
	// systemd.exec(5): StateDirectory=claude-vm can become a link to ~/.config/claude-vm.
	if info, err := os.Lstat(state); err != nil || !info.IsDir() {
		p.t.Errorf("%s: %v, %v, want a directory", state, info, err)
	}
	kept := filepath.Join(state, dir)
	if info, err := os.Stat(kept); err != nil || info.Mode().Perm() != 0o700 {
		p.t.Errorf("directory on the host: %v, %v", info, err)
	}
	if got, err := os.ReadFile(filepath.Join(kept, "kept")); string(got) != "kept\n" {
		p.t.Errorf("file on the host: %q, %v", got, err)
	}
}

// TestTerminalSetting checks that Terminal= decides whether Claude has a terminal, whatever
// the standard streams of the caller are.
func TestTerminalSetting(t *testing.T) {
	t.Parallel()
	p := newProject(t, "terminal")
	version := pinned(t) + " (Claude Code)"
	// A unit that is wanted by a target stays loaded after it stops. It must still drop the
	// options.
	p.vmFile("[Install]\nWantedBy=default.target\n")
	p.ctl("start", "--memory", "1100M", "--set", "Terminal=no", `--set=Arguments=--dangerously-skip-permissions -p "run: until [ -e go ]; do sleep 0.1; done; claude --version"`, ".").ok()
	p.terminal("none", 120, 30, "claude-vm-ctl attach").fails(1, "Claude in the VM on "+p.dir+" has no terminal: another process uses its standard streams", "claude-vm-ctl shell")
	p.write("go", "")
	p.eventually("Claude's output is in the journal", func() bool { return strings.Contains(p.journal(), version) })
	p.eventually("the unit drops the options of the run", func() bool {
		return !strings.Contains(p.property("Environment"), "MEMORY=1100M")
	})
	p.vmFile("[Claude]\nTerminal=no\nArguments=--version\n")

	e := p.terminal("a", 100, 30, "claude-vm-ctl run . | cat; claude-vm-ctl run .")
	e.shows("status=0")
	if got := strings.Count(e.screen(), version); got != 2 {
		t.Errorf("the terminal shows the version %d times, want 2", got)
	}

	p.vmFile("[Claude]\nTerminal=yes\n")
	p.ctl("run", ".", "--", "--version").fails(2, "Claude needs a terminal (Terminal=yes), and standard input or output is not one", "claude-vm-ctl start")
	p.wantGone()
}

// TestRefusedSettings checks that a VM with invalid settings does not start.
func TestRefusedSettings(t *testing.T) {
	t.Parallel()
	p := newProject(t, "refused")
	home := os.Getenv("HOME")
	p.write("settings", "[]")
	runtime := os.Getenv("XDG_RUNTIME_DIR")
	const refused = "/web.vm:3: [Share] Mount=x: 100 %"
	for setting, want := range map[string]string{
		line("REFUSAL", refused) + "\n" + line("REFUSAL_HINT", "claude-vm-ctl edit "+p.dir): refused,
		line("MOUNTS", "/nowhere:/mnt"):                         "Mount=/nowhere: no such file or directory",
		line("MOUNTS", home+":/mnt"):                            "Mount=" + home + ":/mnt: overlaps the work directory and would bypass its ReadOnly= and Hide=",
		line("MOUNTS", runtime+":/mnt"):                         "Mount=" + runtime + ": refusing to share " + runtime + " with a VM: it is in your runtime directory, with the user manager's sockets",
		line("MOUNTS", filepath.Dir(p.dir)+":/mnt"):             "Mount=" + filepath.Dir(p.dir) + ":/mnt: overlaps the work directory and would bypass its ReadOnly= and Hide=",
		line("SETTINGS_FILE", filepath.Join(p.dir, "settings")): fmt.Sprintf("SettingsFile=%s/settings: the guest can change this file", p.dir),
		line("CLAUDE_HOME", "none"):                             "CLAUDE_HOME=none: not one of ephemeral, project, user",
	} {
		p.dropin(instance.Setup.Unit(p.id), vmFile, setting)
		p.ctl("start", ".").fails(121, want, "claude-vm-ctl edit "+p.dir)
	}
	p.systemctl("reset-failed", instance.Setup.Unit(p.id))
	p.wantGone()
}
