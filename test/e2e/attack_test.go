//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/t0mpr1c3/claude-microvm/internal/instance"
)

// attacks is the directory with the attacks. Its README.md has the format of the files.
const attacks = "/mnt/test/attack"

// attack is one file.
type attack struct {
	name string // the path in attacks, without .sh
	what string // what is tried, and what must hold
	vm   string // a key of victims
	slow bool
	step []step
}

// step is a script that one party runs.
type step struct{ by, script string }

// victims start the VMs that the attacks share, because a boot takes a minute without KVM.
var victims = map[string]func(*project) map[string]party{
	"internet": (*project).victimInternet,
	"allow":    (*project).victimAllow,
	"taken":    (*project).victimTaken,
}

// party runs a script with standard input.
type party func(stdin, script string) result

// TestAttack runs all attacks, or without CLAUDE_VM_TEST_ATTACK=all those that are not slow.
func TestAttack(t *testing.T) {
	t.Parallel()
	all := os.Getenv("CLAUDE_VM_TEST_ATTACK") == "all"
	byVM := map[string][]attack{}
	for _, a := range readAttacks(t) {
		if all || !a.slow {
			byVM[a.vm] = append(byVM[a.vm], a)
		}
	}
	for vm, list := range byVM {
		t.Run(vm, func(t *testing.T) {
			t.Parallel()
			p := newProject(t, "victim")
			parties := victims[vm](p)
			// Only the host's scripts have the secret: what searches for it would find itself.
			parties["host"] = func(stdin, script string) result { return p.input(stdin, "sh", "-c", "KEY="+apiKey+"\n"+script) }
			for _, a := range list {
				t.Run(a.name, func(t *testing.T) { p.attack(t, a, parties) })
			}
		})
	}
}

// readAttacks reads all files.
func readAttacks(t *testing.T) (list []attack) {
	t.Helper()
	files, err := filepath.Glob(attacks + "/*/*.sh")
	if err != nil || len(files) == 0 {
		t.Fatalf("no attacks: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		a, err := parseAttack(string(text))
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		a.name = strings.TrimSuffix(strings.TrimPrefix(file, attacks+"/"), ".sh")
		list = append(list, a)
	}
	return list
}

// parseAttack parses a file: a comment, whose last lines can be "# VM: NAME" and "# Slow.", and
// steps, each with a line "### PARTY" before it.
func parseAttack(text string) (attack, error) {
	a := attack{vm: "internet"}
	head, rest, _ := strings.Cut(text, "\n### ")
	for line := range strings.Lines(head) {
		line = strings.TrimSpace(strings.TrimPrefix(line, "#"))
		vm, found := strings.CutPrefix(line, "VM: ")
		switch {
		case found:
			a.vm = vm
		case line == "Slow.":
			a.slow = true
		default:
			a.what += line + "\n"
		}
	}
	if victims[a.vm] == nil {
		return attack{}, fmt.Errorf("there is no VM %q", a.vm)
	}
	if !strings.Contains(a.what, "Must: ") || rest == "" {
		return attack{}, fmt.Errorf("no Must: or no step")
	}
	for _, s := range strings.Split(rest, "\n### ") {
		by, script, _ := strings.Cut(s, "\n")
		a.step = append(a.step, step{by, script})
	}
	return a, nil
}

// attack runs the steps of an attack. The output of each is the input of the next.
func (p *project) attack(t *testing.T, a attack, parties map[string]party) {
	t.Helper()
	lib, err := os.ReadFile(attacks + "/lib.sh")
	if err != nil {
		t.Fatal(err)
	}
	variables := fmt.Sprintf("WORK='%s' ID='%s' NAME='%s' API='%d'\n", p.dir, p.id, filepath.Base(a.name), apiPort)
	if p.systemctl("is-active", "--quiet", p.unit()).status != 0 { // an attack has stopped it
		p.systemctl("kill", "--signal=KILL", p.unit())
		p.systemctl("stop", p.unit())
		p.systemctl(append([]string{"reset-failed"}, instance.Units(p.id)...)...)
		p.start()
	}
	out := ""
	for i, s := range a.step {
		run := parties[s.by]
		if run == nil {
			t.Fatalf("there is no %q in the VM %s", s.by, a.vm)
		}
		r := run(out, variables+string(lib)+s.script)
		if r.status != 0 {
			t.Fatalf("%sstep %d, by %s: status %d\n%s%s%s", a.what, i+1, s.by, r.status, s.script, r.stdout, r.stderr)
		}
		out = r.stdout
	}
}

// protects creates what settings protect, and these settings.
func (p *project) protects(network string) {
	p.t.Helper()
	p.command("sh", "-ec", `git init -q .; git config user.email a@b; git config user.name a; git commit -q --allow-empty -m one
		mkdir -p locked/deep .vscode; echo host >locked/deep/file; echo SECRET=1 >.env; echo {} >.vscode/settings.json; echo host >plain`).ok()
	p.vmFile("[Share]\nReadOnly=locked\nHide=.env\n" + network)
}

// inGuest starts the VM and returns the parties in it.
func (p *project) inGuest() map[string]party {
	p.t.Helper()
	p.command("cp", attacks+"/net.py", "/srv/ca.pem", ".").ok()
	p.start()
	p.root("pkill -STOP -x claude").ok() // it takes half of an emulated processor
	run := func(args ...string) party {
		return func(stdin, script string) result {
			return p.input(stdin, "claude-vm-ctl", append(append([]string{"shell"}, args...), ".", "--", "sh", "-c", script)...)
		}
	}
	return map[string]party{"claude": run(), "root": run("--root")}
}

// victimInternet starts a VM with Mode=internet, and a published port.
func (p *project) victimInternet() map[string]party {
	p.protects("[Network]\nPublishPort=127.0.0.1:18099:8080\n")
	return p.inGuest()
}

// victimAllow starts a VM with Mode=allow.
func (p *project) victimAllow() map[string]party {
	p.protects("[Network]\nMode=allow\nAllow=example.com git.test:443\n")
	return p.inGuest()
}

// victimTaken starts an instance in which shells run in place of QEMU, virtiofsd and so on, with all
// that their units permit: as if they had been taken over. (QEMU and virtiofsd confine themselves
// further.) With CLAUDE_VM_TEST_UNCHECKED=yes, nothing checks that the units confine them.
func (p *project) victimTaken() map[string]party {
	p.protects("")
	const ctl = `"/usr/local/bin/claude-vm-ctl" unit `
	parties := map[string]party{}
	for _, taken := range []struct {
		by      string
		part    *instance.Part
		command string // what executes the program
	}{
		{"qemu", instance.VM, ctl + "exec -- %i "},
		{"virtiofsd", instance.Virtiofsd, p.beforeVirtiofsd()},
		{"gateway", instance.Gateway, ""},
		{"scratch", instance.Scratch, ""},
	} {
		settings := []string{"ExecStartPost=", "ExecStart=", "TimeoutStopSec=3"}
		if taken.command == "" || os.Getenv("CLAUDE_VM_TEST_UNCHECKED") != "" {
			taken.command = ""
			settings = append(settings, "Type=exec")
		}
		shell := fmt.Sprintf(`/bin/sh -c "%s" %s`, takenOver, taken.by)
		p.dropin(taken.part.Unit(p.id), "taken.conf", append(settings, "ExecStart=:"+taken.command+shell)...)
		parties[taken.by] = func(stdin, script string) result { return p.order(taken.by, stdin, script) }
	}
	p.start()
	return parties
}

// beforeVirtiofsd returns the start of ExecStart= in virtiofsd's unit, as far as the program's name.
func (p *project) beforeVirtiofsd() string {
	p.t.Helper()
	unit := p.systemctl("cat", instance.Virtiofsd.Unit(p.id)).ok().stdout
	m := regexp.MustCompile(`(?s)\nExecStart=:(.* vfs\.sock )`).FindStringSubmatch(strings.ReplaceAll(unit, "\\\n", ""))
	if m == nil {
		p.t.Fatalf("%s", unit)
	}
	return m[1]
}

// takenOver is the shell of a unit that was taken over: it executes what appears in the instance's
// runtime directory.
const takenOver = `while :; do if mv $0.order $0.sh; then sh $0.sh <$0.in >$0.out 2>$0.err; echo $? >$0.rc; mv $0.rc $0.status; fi 2>/dev/null; sleep 0.05; done`

// order has a script executed by the shell of a unit.
func (p *project) order(by, stdin, script string) result {
	p.t.Helper()
	file := func(suffix string) string {
		return filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "claude-vm", p.id, by+"."+suffix)
	}
	os.Remove(file("status"))
	writeFile(file("in"), stdin)
	writeFile(file("new"), script)
	if err := os.Rename(file("new"), file("order")); err != nil {
		p.t.Fatal(err)
	}
	r := result{t: p.t, what: by, status: -1}
	for range 600 {
		time.Sleep(50 * time.Millisecond)
		if text, err := os.ReadFile(file("status")); err == nil {
			fmt.Sscan(string(text), &r.status)
			break
		}
	}
	stdout, _ := os.ReadFile(file("out"))
	stderr, _ := os.ReadFile(file("err"))
	r.stdout, r.stderr = string(stdout), string(stderr)
	return r
}
