//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestLogin checks that a VM with WantedBy=default.target is started at login, without a
// request by claude-vm-ctl. scripts/test installs its .vm file and restarts the user
// manager. The test runs before the parallel tests.
func TestLogin(t *testing.T) {
	p := newProjectAt(t, filepath.Join(os.Getenv("HOME"), "login"))
	p.eventually("the VM runs", func() bool { return p.property("ActiveState") == "active" })
	if got := p.guest("ls /sys/class/net"); got != "lo\n" {
		t.Errorf("network interfaces: %s", got)
	}
	if got := p.systemctl("is-enabled", p.unit()).stdout; got != "enabled-runtime\n" {
		t.Errorf("is-enabled: %s", got)
	}
	// After its file is deleted, the VM keeps running, but is no longer wanted by the target.
	if err := os.Remove(filepath.Join(os.Getenv("HOME"), ".config/claude-vm/login.vm")); err != nil {
		t.Fatal(err)
	}
	p.systemctl("daemon-reload").ok()
	if got := p.property("ActiveState") + p.property("WantedBy"); got != "active" {
		t.Errorf("after its file is deleted, ActiveState and WantedBy: %s", got)
	}
	p.systemctl("stop", p.unit()).ok()
	p.wantGone()
}

// TestGenerate checks that "claude-vm-ctl generate" and the script of the Home Manager
// module write the same files as the generator. If the generator is installed, "generate"
// only has to reload the user manager. The test is not parallel, because the output would
// contain the VMs of other tests.
func TestGenerate(t *testing.T) {
	p := newProject(t, "generate")
	p.vmFile("Memory=700M\n[Install]\nWantedBy=default.target\n")
	writeFile(filepath.Join(os.Getenv("HOME"), ".config/claude-vm/defaults.conf"), "[Claude]\nEnvironment=TEST=1\n")
	t.Cleanup(func() { os.Remove(filepath.Join(os.Getenv("HOME"), ".config/claude-vm/defaults.conf")) })
	p.ctl("generate").ok()
	data, runtime := filepath.Join(os.Getenv("HOME"), ".local/share/systemd/user"), os.Getenv("XDG_RUNTIME_DIR")+"/systemd/generator"
	if _, err := os.Lstat(data); !os.IsNotExist(err) {
		t.Errorf("generate has written files although the generator is installed: %v", err)
	}
	p.uninstalled("", "generate").ok()
	p.ctl("doctor").finds(0, "warn  generator: files that claude-vm-ctl generate wrote before the generator was installed are left over: "+filepath.Join(data, "claude-vm-setup@.service.d/10-defaults.conf"), "claude-vm-ctl generate")
	// Run the script as the Home Manager module does in a build.
	built := filepath.Join(t.TempDir(), "units")
	files := filepath.Join(os.Getenv("HOME"), ".config/claude-vm")
	p.command("/mnt/nix/generate", "claude-vm-generator", files, files, built).ok()
	const text = `cd "$1"; find . -name "*claude-vm*" -type d -o -path "*claude-vm*" -printf "%p %l\n" -type f -exec cat {} + | LC_ALL=C sort`
	theirs := p.command("sh", "-c", text, "sh", runtime).ok().stdout
	if !strings.Contains(theirs, "default.target.wants") || !strings.Contains(theirs, "MEMORY=700M") {
		t.Errorf("the generator wrote\n%s", theirs)
	}
	for route, dir := range map[string]string{"claude-vm-ctl generate": data, "nix/generate": built} {
		if ours := p.command("sh", "-c", text, "sh", dir).ok().stdout; ours != theirs {
			t.Errorf("%s wrote\n%s\nthe generator wrote\n%s", route, ours, theirs)
		}
	}

	p.installsBuild(built, data)

	// Without a generator, the output of generate is applied. The file is in a directory that
	// the installed generator does not read.
	q := newProject(t, "alone")
	alone := filepath.Join(filepath.Dir(q.dir), "files")
	writeFile(filepath.Join(alone, "alone.vm"), "[VM]\nWorkDirectory="+q.dir+"\nMemory=701M\n[Install]\nWantedBy=default.target\n")
	q.uninstalled(alone, "generate").ok()
	if got := q.property("Environment") + q.property("WantedBy"); !strings.Contains(got, "MEMORY=701M") || !strings.Contains(got, "default.target") {
		t.Errorf("applied without a generator: %s", got)
	}
	q.ctl("generate").ok()
	if left := q.command("find", data, "-mindepth", "1").stdout; left != "" {
		t.Errorf("not removed when the generator is installed: %s", left)
	}
	if got := q.property("Environment"); strings.Contains(got, "MEMORY=701M") {
		t.Errorf("still applied: %s", got)
	}

	writeFile(filepath.Join(os.Getenv("HOME"), ".config/claude-vm/defaults.conf"), "[Claude]\nEnvironment=TEST=2\n")
	p.ctl("doctor").finds(0, "warn  generator: the .vm files have changed since the user manager read them", "systemctl --user daemon-reload")

	// The user manager and the shell search different directories.
	const differ, hint = ": HOME or an XDG_* variable differs in the user manager", "systemctl --user show-environment"
	q.command("env", "CLAUDE_VM_UNIT_DIRS="+alone, "claude-vm-ctl", "generate").fails(1, "the user manager's generator reads different .vm files"+differ, hint)
	t.Setenv("XDG_DATA_HOME", "/nowhere")
	q.uninstalled(alone, "generate").fails(1, "the user manager does not look for units in /nowhere/systemd/user"+differ, hint)
}

// installsBuild checks that generate writes no files, and removes its own, if the output
// of Nix is installed.
func (p *project) installsBuild(built, data string) {
	p.t.Helper()
	config := filepath.Join(os.Getenv("HOME"), ".config/systemd/user")
	defer os.RemoveAll(config)
	p.command("sh", "-c", `mkdir -p "$2" && cp -rsT "$1" "$2"`, "sh", built, config).ok()
	left := filepath.Join(data, "claude-vm-setup@.service.d/10-defaults.conf")
	p.uninstalled("", "doctor").finds(0, "warn  generator: files that claude-vm-ctl generate wrote before Home Manager did are left over: "+left, "claude-vm-ctl generate")
	p.uninstalled("", "generate").ok()
	if left := p.command("find", data, "-mindepth", "1").stdout; left != "" {
		p.t.Errorf("not removed by generate: %s", left)
	}
	if said := p.uninstalled("", "doctor").stdout; !strings.Contains(said, "\nok    generator: not installed; the drop-ins written by Home Manager match the .vm files\n") {
		p.t.Errorf("doctor: %s", said)
	}
}

// uninstalled runs claude-vm-ctl without an installed generator, with the .vm files of a
// directory or, if files is empty, of the user.
func (p *project) uninstalled(files string, args ...string) result {
	p.t.Helper()
	script := `mount -t tmpfs none /usr/local/lib/systemd/user-generators && exec "$@"`
	return p.command("unshare", append([]string{"--user", "--map-current-user", "--keep-caps", "--mount",
		"sh", "-c", script, "sh", "env", "CLAUDE_VM_UNIT_DIRS=" + files, "claude-vm-ctl"}, args...)...)
}

// TestEdit checks that edit rejects an invalid file, and that the user manager reads a
// valid one after it is saved.
func TestEdit(t *testing.T) {
	t.Parallel()
	p := newProject(t, "edit me")
	file := filepath.Join(os.Getenv("HOME"), ".config/claude-vm/edit me.vm")
	t.Cleanup(func() { os.Remove(file) })
	temporary := filepath.Join(filepath.Dir(file), ".#edit me.vm*")
	edit := func(script string) result {
		t.Helper()
		return p.command("env", "EDITOR=sed -i "+script, "claude-vm-ctl", "edit")
	}
	if r := edit("s/^#Memory=.*/Memroy=700M/"); r.status != 1 || !strings.HasPrefix(r.stderr, file+":7: unknown key Memroy= in [VM]\n\thint: did you mean Memory=?\n") {
		t.Errorf("edit with an invalid key: status %d, %s", r.status, r.stderr)
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("edit has saved an invalid file: %v", err)
	}
	left, err := filepath.Glob(temporary)
	if err != nil || len(left) != 1 {
		t.Fatalf("temporary files: %v, %v, want one", left, err)
	}
	if err := os.Remove(left[0]); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(filepath.Dir(file), "read-only.vm")
	t.Cleanup(func() { os.Remove(link) })
	if err := os.Symlink("/mnt/docs/examples/quarantine.vm", link); err != nil {
		t.Fatal(err)
	}
	p.ctl("edit", "read-only").fails(1, link+" is a link to /mnt/docs/examples/quarantine.vm, which is read-only", "")
	p.command("unshare", "--user", "--map-user=123456", "env", "HOME=", "claude-vm-ctl", "edit").fails(1,
		"HOME=, and the home directory of user 123456 is unknown: getent passwd 123456: exit status 2", "")
	if r := edit("s/^#Memory=.*/Memory=700M/").ok(); r.stdout+r.stderr != "" {
		t.Errorf("edit printed %s%s, want nothing", r.stdout, r.stderr)
	}
	if got := p.property("Environment"); !strings.Contains(got, "MEMORY=700M") {
		t.Errorf("after edit, Environment=%s", got)
	}

	// On a terminal, with a running VM.
	p.start()
	e := p.terminal("a", 80, 24, `EDITOR="sed -i s/700/800/" claude-vm-ctl edit`)
	e.shows("status=0")
	e.shows("claude-vm-ctl: to apply the changes to the running VM: claude-vm-ctl restart")
	p.ctl("restart").ok()
	if got := p.guest("awk '/MemTotal/ { print ($2 > 700000) }' /proc/meminfo"); got != "1\n" {
		t.Errorf("memory: %s", got)
	}
}
