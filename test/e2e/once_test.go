//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/t0mpr1c3/claude-microvm/internal/instance"
)

// once returns the paths of the instance's drop-ins with the options of one run.
func (p *project) once() string {
	p.t.Helper()
	found, err := filepath.Glob(filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "systemd/user/claude-vm*@"+globQuote(p.id)+".service.d", onceFile))
	if err != nil {
		p.t.Fatal(err)
	}
	return strings.Join(found, "\n")
}

func globQuote(text string) string { return strings.ReplaceAll(text, `\`, `\\`) }

// TestOptions checks that the options of run and start apply to one run only, however it
// ends.
func TestOptions(t *testing.T) {
	t.Parallel()
	p := newProject(t, "options")
	p.write("hidden", "host")
	p.write("locked", "host")
	p.vmFile("CPUs=1\nMemory=1G\n[Share]\nMount=/srv:/srv:ro\n")
	port := freePort(t)
	p.command("mkdir", "../beside").ok()
	stopTimer := p.timer()
	p.ctl("start", "--memory=700M", "--cpus", "2", "--publish", fmt.Sprint(port)+":8080", "--mount", "../beside:/mnt/a:ro", "--read-only", "locked",
		"--hide", "hidden", "--env", `X=a "b"  %h`, "--home", "project", "--set", "Arguments=--model sonnet", "--set", "Service.MemoryMax=2G", ".").ok()
	got := p.guest(`nproc; echo "$X"; 
for f in "cat /work/hidden" "touch /mnt/a/new" "echo >/work/locked"; do sh -c "$f" 2>&1 || true; done; ls -d /srv; touch ~/kept`)
	for _, want := range []string{"2\na \"b\"  %h\n", "/work/hidden: Permission denied", "'/mnt/a/new': Read-only", "/work/locked: Read-only", "/srv\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("output of the guest does not contain %q: %s", want, got)
		}
	}
	p.wantPublished(port)
	if got := p.claude(); got != "claude\n--model\nsonnet\n" {
		t.Errorf("Claude's arguments: %s", got)
	}
	if got := p.property("MemoryMax"); got != "2147483648" {
		t.Errorf("MemoryMax=%s", got)
	}
	for verb, hint := range map[string]string{"start": "stop", "run": "attach"} {
		p.ctl(verb, "--cpus=1", ".").fails(1, "a VM is already running on "+p.dir+"; its options and Claude's arguments cannot be changed", "claude-vm-ctl "+hint)
	}
	// A restart keeps the options of the run, whichever program asks for it.
	for _, restart := range []func() result{
		func() result { return p.systemctl("restart", p.unit()) },
		func() result { return p.ctl("restart", ".") },
	} {
		r := restart().ok()
		if got := p.guest("nproc; ls ~"); got != "2\nkept\n" {
			t.Errorf("after %s: %s", r.what, got)
		}
	}
	p.ctl("stop", ".").ok()
	p.ctl("start", "--cpus=2", ".").ok()
	p.ctl("stop", ".").ok()
	p.eventually("a unit that a timer keeps loaded drops the options", func() bool {
		got := p.property("Environment")
		return strings.Contains(got, "CPUS=1") && !strings.Contains(got, "CPUS=2")
	})
	p.start()
	if got := p.guest("nproc"); got != "1\n" {
		t.Errorf("processors of the next run: %s, want 1", got)
	}
	p.systemctl("stop", p.unit()).ok()
	stopTimer()
	p.wantGone()
	p.onceOfTheDead()
	p.onceOfARefusal()
}

// timer creates a timer for the VM's unit, which keeps the unit loaded.
func (p *project) timer() (stop func()) {
	p.t.Helper()
	path := filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "systemd/user/"+strings.ReplaceAll(p.t.Name(), "/", ".")+".timer")
	writeFile(path, "[Timer]\nOnBootSec=100d\nUnit="+strings.ReplaceAll(p.unit(), "%", "%%")+"\n")
	p.systemctl("daemon-reload").ok()
	p.systemctl("start", filepath.Base(path)).ok()
	stop = func() {
		os.Remove(path)
		exec.Command("systemctl", "--user", "stop", filepath.Base(path)).Run()
		exec.Command("systemctl", "--user", "daemon-reload").Run()
	}
	p.t.Cleanup(stop)
	return stop
}

// onceOfTheDead checks that the options of a start that was killed do not apply to a later
// start.
func (p *project) onceOfTheDead() {
	p.t.Helper()
	cmd := exec.Command("claude-vm-ctl", "start", "--cpus=2", ".")
	cmd.Dir = p.dir
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.eventually("the VM starts", func() bool { return p.property("MainPID") != "0" })
	cmd.Process.Kill()
	cmd.Wait()
	p.systemctl("stop", p.unit()).ok()
	p.wantGone()
	p.eventually("the stop removes the options", func() bool { return p.once() == "" })

	// As if claude-vm-ctl was killed after it wrote the drop-ins, before it started the unit.
	p.dropin(instance.Setup.Unit(p.id), onceFile, "Environment=OVERRIDES=dead")
	p.dropin(p.unit(), onceFile, "Environment=CPUS=2")
	if r := p.systemctl("start", p.unit()); r.status == 0 {
		p.t.Error("a start with the options of another start succeeds, want failure")
	}
	if got := p.command("systemctl", "--user", "show", "--value", "--property=StatusText", instance.Setup.Unit(p.id)).stdout; got != "found overrides of an earlier start, which are now removed\n" {
		p.t.Errorf("StatusText=%s", got)
	}
	p.eventually("the options are removed", func() bool { return p.once() == "" })
	p.dropin(instance.Setup.Unit(p.id), onceFile, "Environment=OVERRIDES=dead")
	p.dropin(p.unit(), onceFile, "Environment=CPUS=2")
	p.ctl("start", ".").ok()
	if got := p.guest("nproc"); got != "1\n" {
		p.t.Errorf("processors: %s, want 1", got)
	}
	p.systemctl("stop", p.unit()).ok()
	p.wantGone()
}

// onceOfARefusal checks that rejected options leave no drop-ins behind.
func (p *project) onceOfARefusal() {
	p.t.Helper()
	p.ctl("start", "--memory=lots", ".").fails(2, "--memory: Memory=lots: not a size", "write a number and K, M, G or T, for example 8G")
	p.ctl("run", "--set", "Nonsense=1", ".").fails(2, "--set: unknown key Nonsense=", "claude-vm-ctl run --help")
	p.command("env", "-u", "SSH_AUTH_SOCK", "claude-vm-ctl", "start", "--forward-agent", ".").fails(121,
		"SSH_AUTH_SOCK is not set: there is no SSH agent to forward", `eval "$(ssh-agent)"; ssh-add`)
	p.command("env", "SSH_AUTH_SOCK=/nowhere", "claude-vm-ctl", "start", "--forward-agent", ".").fails(121,
		"there is no SSH agent to forward: dial unix /nowhere: connect: no such file or directory", `eval "$(ssh-agent)"; ssh-add`)
	p.ctl("start", "--mount", "..:/mnt", ".").fails(2,
		"--mount: Mount="+filepath.Dir(p.dir)+":/mnt: overlaps the work directory and would bypass its ReadOnly= and Hide=", "claude-vm-ctl start --help")
	p.vmFile("Guest=/usr/local/share/claude-vm/guest\n")
	p.ctl("start", "--set", "Guest=", ".").fails(2, "Guest=/usr/local/share/claude-vm/guest in "+p.id+".vm cannot be reset: set another Guest= instead", "claude-vm-ctl edit")
	p.ctl("start", "--mount", "/nowhere:/mnt", ".").fails(121, "Mount=/nowhere: no such file or directory", "claude-vm-ctl edit "+p.dir)
	p.systemctl("reset-failed", instance.Setup.Unit(p.id))
	// A start is rejected while the user manager has not read the current .vm file.
	path := filepath.Join(os.Getenv("HOME"), ".config/claude-vm", p.id+".vm")
	writeFile(path, "[VM]\nWorkDirectory="+p.dir+"\nMemory=800M\n")
	for _, args := range [][]string{{"start", "."}, {"start", "--cpus=1", "."}} {
		p.ctl(args...).fails(1, "the .vm files have changed since the user manager read them", "claude-vm-ctl generate")
	}
	p.ctl("generate").ok()
	if got := p.property("Environment"); !strings.Contains(got, "MEMORY=800M") {
		p.t.Errorf("after generate, Environment=%s", got)
	}
	if got := p.once(); got != "" {
		p.t.Errorf("drop-ins that are not removed: %s", got)
	}
	p.wantGone()
}
