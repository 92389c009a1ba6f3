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

// dropin gives one of the instance's units settings, in a file of the name that
// the generator uses, or in another; it is gone at the test's end.
func (p *project) dropin(unit, name string, lines ...string) {
	p.t.Helper()
	dir := filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "systemd/user", unit+".d")
	writeFile(filepath.Join(dir, name), "[Service]\n"+strings.Join(lines, "\n")+"\n")
	p.systemctl("daemon-reload").ok()
	p.t.Cleanup(func() { os.RemoveAll(dir) })
}

const (
	vmFile   = "50-vm.conf"
	onceFile = "zz-once.conf"
)

// line is an assignment of an environment variable in a unit file, quoted.
func line(name, value string) string {
	return `Environment="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `%`, `%%`).Replace(name+"="+value) + `"`
}

// word quotes one of the words that a variable holds.
func word(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
}

// claude is the command line of Claude's process, one argument a line.
func (p *project) claude() string {
	p.t.Helper()
	// The session's script comes first.
	return p.guest(`until pid=$(pgrep -u claude -x claude); do sleep 0.1; done; tr '\0' '\n' </proc/$pid/cmdline`)
}

const oddName = `it's "all" $HOME, ${x} %n \`

// TestSettings starts one VM with all settings, then restarts it with others.
func TestSettings(t *testing.T) {
	t.Parallel()
	p := newProject(t, "settings")
	p.command("git", "init", "-q", "-b", "main").ok()
	p.command("mkdir", ".claude").ok()
	shared := filepath.Join(filepath.Dir(p.dir), oddName)
	writeFile(filepath.Join(shared, "file"), "from the host")
	settings := filepath.Join(filepath.Dir(p.dir), "settings.json")
	writeFile(settings, `{"cleanupPeriodDays": 7}`)
	p.dropin(instance.SetupUnit(p.id), vmFile,
		line("MOUNTS", "rw0 "+word(shared)+" ro1 "+word(shared)+" ro2 "+word(shared+"/file")),
		line("CLAUDE_HOME", "project"), line("SETTINGS_FILE", settings))
	p.dropin(instance.ShareUnit(p.id), vmFile, "BindPaths=-%t/claude-vm/.%i.share/rw0:%h/share/rw0",
		"BindReadOnlyPaths=-%t/claude-vm/.%i.share/ro1:%h/share/ro1 -%t/claude-vm/.%i.share/ro2:%h/share/ro2")
	fwcfg := `name=opt/test,string=two  words,, "quoted" 'too' $HOME`
	vm := []string{
		line("MOUNTS", "ro1 '/home/claude/a/read only' rw0 "+word("/mnt/"+oddName)+" ro2 /etc/one-file"),
		line("CLAUDE_HOME", "project"),
		"Environment=NETWORK=",
		line("QEMU_ARGUMENTS", "-fw_cfg "+word(fwcfg)),
		line("CLAUDE_ARGUMENTS", `--append-system-prompt "two  words"`),
		line("CLAUDE_ENVIRONMENT", `"TEST_A=a  b" ANTHROPIC_API_KEY=`+apiKey+`-2`),
	}
	p.dropin(p.unit(), vmFile, vm...)
	p.ctl("start", ".", "--", "--model", "sonnet").ok()

	if got := p.claude(); got != "claude\n--append-system-prompt\ntwo  words\n--model\nsonnet\n" {
		t.Errorf("Claude's arguments: %q", got)
	}
	if got := p.guest(`echo "$TEST_A, $ANTHROPIC_API_KEY"`); got != "a  b, "+apiKey+"-2\n" {
		t.Errorf("Claude's environment: %q", got)
	}
	p.wantMounts(shared)
	p.wantHome("project/" + p.id)
	// A directory that the host has made a mount of is still the repository's.
	if got := p.guest("cd .claude; touch x; git rev-parse --show-toplevel"); got != "/work\n" {
		t.Errorf("git in .claude: %s", got)
	}
	if got := p.guest("ls /sys/class/net"); got != "lo\n" {
		t.Errorf("without a network there is %s", got)
	}
	pid := strings.TrimSpace(p.systemctl("show", "--value", "--property=MainPID", p.unit()).ok().stdout)
	cmdline, err := os.ReadFile("/proc/" + pid + "/cmdline")
	if err != nil || !strings.Contains(string(cmdline), "\x00-fw_cfg\x00"+fwcfg+"\x00-sandbox\x00") {
		t.Errorf("QEMU's command line: %q, %v", cmdline, err)
	}
	p.onlyTheDirectory("/etc/one-file", "/home/claude", "/home/claude/a/read only", "/mnt/"+oddName, "/work")

	// A restart applies what has changed, and Claude's arguments are the same.
	p.dropin(instance.SetupUnit(p.id), vmFile, line("MOUNTS", "rw0 "+word(shared)), line("CLAUDE_HOME", "project"))
	p.dropin(p.unit(), vmFile, line("MOUNTS", "rw0 /new"), line("CLAUDE_HOME", "project"))
	once := []string{p.unit(), instance.ShareUnit(p.id), instance.SetupUnit(p.id)}
	for _, unit := range once {
		p.dropin(unit, onceFile, "Environment=ONCE=1")
	}
	p.systemctl("restart", p.unit()).ok()
	got := p.guest("cat /new/file ~/kept; find /etc/one-file ~/a -type f 2>/dev/null || true; jq .cleanupPeriodDays ~/.claude/settings.json")
	if got != "from the hostkept\n7\n" {
		t.Errorf("after the restart: %s", got)
	}
	if got := p.claude(); got != "claude\n--model\nsonnet\n" {
		t.Errorf("Claude's arguments after the restart: %q", got)
	}
	for _, unit := range once {
		if got := p.systemctl("show", "--value", "--property=Environment", unit).ok().stdout; !strings.Contains(got, "ONCE=1") {
			t.Errorf("after the restart, %s has %s", unit, got)
		}
	}
	// A stop ends them, however soon the start comes.
	p.dropin(instance.SetupUnit(p.id), vmFile, line("CLAUDE_HOME", "user"), line("SETTINGS_FILE", settings))
	p.dropin(p.unit(), vmFile, line("CLAUDE_HOME", "user"))
	p.systemctl("stop", p.unit()).ok()
	p.start()
	if got := p.claude(); got != "claude\n" {
		t.Errorf("Claude's arguments after a stop and a start: %q", got)
	}
	p.wantHome("user")
	p.systemctl("stop", p.unit()).ok()
	p.wantGone()
	for _, unit := range once {
		if got := p.systemctl("show", "--value", "--property=Environment", unit).ok().stdout; strings.Contains(got, "ONCE=1") {
			t.Errorf("after the stop, %s has %s", unit, got)
		}
	}
}

// wantMounts checks the mounts of a directory that is shared twice and of its
// file.
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
			p.t.Errorf("the guest's root writes %s: %s", target, r.stderr)
		}
	}
	if got := p.guest("stat -c %U ~/a ~ " + ro); got != "claude\nclaude\nclaude\n" {
		p.t.Errorf("owners: %s", got)
	}
	if got := p.guest("stat -c %d /work ~ " + ro + " | sort -u | wc -l"); got != "3\n" {
		p.t.Errorf("trees that are of one device: %s", got)
	}
}

// wantHome checks a new home that will be kept in a directory of the state
// directory, and the settings in it.
func (p *project) wantHome(dir string) {
	p.t.Helper()
	got := p.guest("ls ~/.bashrc; jq -c '[.cleanupPeriodDays, .skipDangerousModePermissionPrompt]' ~/.claude/settings.json; echo kept >~/kept")
	if got != "/home/claude/.bashrc\n[7,true]\n" {
		p.t.Errorf("home: %s", got)
	}
	kept := filepath.Join(os.Getenv("HOME"), ".local/state/claude-vm", dir)
	if info, err := os.Stat(kept); err != nil || info.Mode().Perm() != 0o700 {
		p.t.Errorf("%v, %v", info, err)
	}
	if got, err := os.ReadFile(filepath.Join(kept, "kept")); string(got) != "kept\n" {
		p.t.Errorf("kept: %q, %v", got, err)
	}
}

// TestTerminalSetting: with CLAUDE_TERMINAL= the unit, not the caller, decides.
func TestTerminalSetting(t *testing.T) {
	t.Parallel()
	p := newProject(t, "terminal")
	version := pinned(t) + " (Claude Code)"
	// Wanted by a target, the unit stays loaded: it must forget ONCE all the same.
	wants := filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "systemd/user/default.target.wants", p.unit())
	if err := os.MkdirAll(filepath.Dir(wants), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/usr/local/lib/systemd/user/claude-vm@.service", wants); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(wants) })
	p.dropin(p.unit(), onceFile, "Environment=ONCE=1")
	p.dropin(p.unit(), vmFile, "Environment=CLAUDE_TERMINAL=no CLAUDE_ARGUMENTS=--version")
	p.ctl("start", ".").ok()
	p.eventually("Claude's output is in the journal", func() bool { return strings.Contains(p.journal(), version) })
	p.eventually("the unit forgets its options of one run", func() bool {
		return !strings.Contains(p.property("Environment"), "ONCE=1")
	})
	if err := os.Remove(wants); err != nil {
		t.Fatal(err)
	}
	p.systemctl("daemon-reload").ok()

	e := p.terminal("a", 100, 30, "claude-vm-ctl run . | cat; claude-vm-ctl run .")
	e.shows("status=0")
	if got := strings.Count(e.screen(), version); got != 2 {
		t.Errorf("the version %d times on the terminal", got)
	}

	p.dropin(p.unit(), vmFile, "Environment=CLAUDE_TERMINAL=yes")
	r := p.ctl("run", ".", "--", "--version")
	if r.status != 2 || !strings.Contains(r.stderr, "Claude has a terminal here (Terminal=yes), and this is none\nclaude-vm-ctl: hint: claude-vm-ctl start\n") {
		t.Errorf("run without a terminal: status %d, %s", r.status, r.stderr)
	}
	p.wantGone()
}

// TestRefusedSettings: a VM with settings that cannot be kept does not start.
func TestRefusedSettings(t *testing.T) {
	t.Parallel()
	p := newProject(t, "refused")
	home := os.Getenv("HOME")
	p.write("settings", "[]")
	for setting, want := range map[string]string{
		line("REFUSAL", "web.vm:3: [Share] Mount=x: 100 %"):     "web.vm:3: [Share] Mount=x: 100 %",
		line("MOUNTS", "ro0 /nowhere"):                          "Mount=/nowhere: no such file or directory",
		line("MOUNTS", "ro0 "+home):                             "Mount=" + home + ": refusing to share " + home + " with a VM: it is your home directory, with your keys in it",
		line("MOUNTS", "ro0 "+os.Getenv("XDG_RUNTIME_DIR")):     "Mount=" + os.Getenv("XDG_RUNTIME_DIR") + ": refusing to share",
		line("SETTINGS_FILE", filepath.Join(p.dir, "settings")): fmt.Sprintf("SettingsFile=%s/settings: not a JSON object", p.dir),
		line("CLAUDE_HOME", "none"):                             "Home=none: not ephemeral, project or user",
	} {
		p.dropin(instance.SetupUnit(p.id), onceFile, setting)
		r := p.ctl("start", ".")
		if r.status != 121 || r.stdout != "" || !strings.HasPrefix(r.stderr, "claude-vm-ctl: error: "+want) || strings.Count(r.stderr, "\n") != 2 {
			t.Errorf("%s: status %d, %s", setting, r.status, r.stderr)
		}
		// The unit has failed and stays; it has forgotten why.
		got := p.systemctl("show", "--value", "--property=Environment", instance.SetupUnit(p.id)).ok().stdout
		if strings.Contains(got, "REFUSAL=") || strings.Contains(got, "MOUNTS=") {
			t.Errorf("after the refusal, Environment=%s", got)
		}
	}
	p.systemctl("reset-failed", instance.SetupUnit(p.id))
	p.wantGone()
}
