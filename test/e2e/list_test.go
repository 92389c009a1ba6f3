//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/vm"
)

// listed is a part of the output of list --json and status --json.
type listed struct {
	ID, Directory, State, Status, FailedUnit, Share, VMFile, GuestVersion, StartedBy string

	PID                                      int
	Since                                    time.Time
	Insecure                                 []string
	MemoryCurrent, MemoryLimit, CPUUsageNSec uint64
	Ports                                    []struct {
		Protocol, Address string
		Host, Guest       int
	}
	Forwards []struct{ Unit, Ports string }
	DropIns  []string
}

// list returns the entry of a directory in list --json, called with additional arguments,
// or nil.
func (p *project) list(dir string, args ...string) *listed {
	p.t.Helper()
	var all []listed
	text := p.ctl(append([]string{"list", "--json"}, args...)...).ok().stdout
	if err := json.Unmarshal([]byte(text), &all); err != nil || strings.Count(text, "\n") != 1 {
		p.t.Fatalf("list --json: %v: %s", err, text)
	}
	for _, l := range all {
		if l.Directory == dir {
			return &l
		}
	}
	return nil
}

// row returns the words of the line of a directory in the output of list.
func (p *project) row(dir string, args ...string) string {
	p.t.Helper()
	home, _ := os.UserHomeDir()
	for line := range strings.Lines(p.ctl(append([]string{"list"}, args...)...).ok().stdout) {
		if words := strings.Fields(line); words[0] == strings.Replace(dir, home, "~", 1) {
			return strings.Join(words, " ")
		}
	}
	return ""
}

// TestList checks list and status with a running, a stopped and a failed VM, which are
// named by their .vm files.
func TestList(t *testing.T) {
	t.Parallel()
	p := newProject(t, "日本")
	idle, gone := filepath.Join(filepath.Dir(p.dir), "idle"), filepath.Join(filepath.Dir(p.dir), "gone")
	p.command("mkdir", idle).ok()
	port := freePort(t)
	file := p.namedFile("list-runs", p.dir, fmt.Sprintf("[Network]\nPublishPort=%d:8080\n", port))
	p.namedFile("list-idle", idle, "")
	p.namedFile("list-gone", gone, "")
	p.systemctl("daemon-reload").ok()
	const secret = "sk-ant-secret-of-the-request"
	p.command("env", "ANTHROPIC_API_KEY="+secret, "claude-vm-ctl", "start", "list-runs").ok()
	p.ctl("start", "list-gone").fails(121, gone+": no such file or directory", "mkdir -p "+gone)
	setup := instance.Setup.Unit(instance.Escape(gone))
	defer exec.Command("systemctl", "--user", "reset-failed", setup).Run()

	l := p.list(p.dir)
	if l == nil || l.State != "active" || l.Status != "Claude Code is running" || l.Share != "active" || l.PID == 0 ||
		time.Since(l.Since) > patience || l.MemoryCurrent == 0 || l.MemoryLimit != 1<<30+vm.MaxOverhead || l.CPUUsageNSec == 0 ||
		len(l.Ports) != 1 || l.Ports[0].Host != port || l.Ports[0].Guest != 8080 || l.VMFile != file || l.StartedBy != "" {
		t.Errorf("list of the running VM: %+v", l)
	}
	if row := p.row(p.dir); !strings.Contains(row, "/日本 active ") || !strings.HasSuffix(row, fmt.Sprintf(" %d:8080 Claude Code is running", port)) {
		t.Errorf("row: %q", row)
	}
	l = p.list(gone)
	if l == nil || l.State != "failed" || l.Status != gone+": no such file or directory" || l.FailedUnit != setup {
		t.Errorf("list of the failed VM: %+v", l)
	}
	if l := p.list(idle); l != nil {
		t.Errorf("list of the stopped VM without --all: %+v", l)
	}
	if l := p.list(idle, "--all"); l == nil || l.State != "inactive" || l.Ports == nil {
		t.Errorf("list of the stopped VM with --all: %+v", l)
	}
	if row := p.row(idle, "-a"); !strings.HasSuffix(row, "/idle inactive - - - - -") {
		t.Errorf("row: %q", row)
	}
	p.forwards("list-runs")
	p.statusOf("list-runs.vm", secret)
	p.watch("list-runs.vm")
	p.wantGone()
	if r := p.ctl("status", "list-runs"); r.status != 120 || !strings.Contains(r.stdout, "VM: inactive") {
		t.Errorf("status of the stopped VM: %d\n%s", r.status, r.stdout)
	}
	if r := p.ctl("status", "list-gone"); r.status != 120 || !strings.Contains(r.stdout, "Failed: "+setup+"\n") {
		t.Errorf("status of the failed VM: %d\n%s", r.status, r.stdout)
	}
}

// namedFile writes a .vm file that is not named after the directory's id.
func (p *project) namedFile(name, dir, text string) (path string) {
	p.t.Helper()
	path = filepath.Join(os.Getenv("HOME"), ".config/claude-vm", name+".vm")
	writeFile(path, "[VM]\nWorkDirectory="+dir+"\n"+text)
	p.t.Cleanup(func() {
		os.Remove(path)
		exec.Command("systemctl", "--user", "daemon-reload").Run()
	})
	return path
}

// forwards checks that units that forward ports to the VM are found, by their description.
func (p *project) forwards(name string) {
	p.t.Helper()
	unit := "claude-vm-port-9000@" + p.id + ".service"
	p.command("systemd-run", "--user", "--quiet", "--unit="+unit, "--description=Ports 9000:80 of the Claude VM on "+p.dir, "sleep", "1000").ok()
	defer p.systemctl("stop", unit)
	if l := p.list(p.dir); l == nil || len(l.Forwards) != 1 || l.Forwards[0].Unit != unit || l.Forwards[0].Ports != "9000:80" {
		p.t.Errorf("list with a forward: %+v", l)
	}
	if got := p.ctl("status", name).ok().stdout; !strings.Contains(got, "Port: 9000:80, by "+unit+"\n") {
		p.t.Errorf("status with a forward:\n%s", got)
	}
}

// statusOf checks that status prints all details, but no secrets, also after a restart.
func (p *project) statusOf(name, secret string) {
	p.t.Helper()
	text := p.ctl("status", "--json", name).ok().stdout
	var l listed
	if err := json.Unmarshal([]byte(text), &l); err != nil {
		p.t.Fatal(err)
	}
	version := strings.TrimSpace(p.command("sed", "-n", `s/^GUEST_VERSION="\(.*\)"$/\1/p`, "/usr/local/share/claude-vm/guest/guest.env").stdout)
	if !strings.HasPrefix(l.StartedBy, "claude-vm-ctl start, process ") || l.GuestVersion != version || !strings.HasSuffix(strings.Join(l.DropIns, "\n"), ".d/50-vm.conf") {
		p.t.Errorf("status --json: %s", text)
	}
	human := p.ctl("status", "-n1", name).ok().stdout
	head, log, _ := strings.Cut(human, "\n\n")
	for _, want := range []string{" by " + l.StartedBy + "\n", "Guest: " + version + "\n", " of 2.5G\n", ".vm file: " + l.VMFile + "\n", "Drop-in: " + l.DropIns[0]} {
		if !strings.Contains(head, want) {
			p.t.Errorf("status does not contain %q:\n%s", want, human)
		}
	}
	if strings.Count(log, "\n") != 1 {
		p.t.Errorf("status -n1:\n%s", human)
	}
	if all := text + human + p.ctl("list", "--json").stdout + p.ctl("status", "-n1000", name).stdout; strings.Contains(all, secret) {
		p.t.Error("the output contains the API key of the request")
	}
	if got := p.ctl("shell", name, "--", "pwd").ok().stdout; got != p.dir+"\n" {
		p.t.Errorf("shell %s: %s", name, got)
	}
	p.systemctl("restart", p.unit()).ok()
	if got := p.ctl("status", "-n0", name).ok().stdout; !strings.Contains(got, l.StartedBy+", restarted by systemd\n") || strings.Contains(got, "\n\n") {
		p.t.Errorf("status after systemctl restart:\n%s", got)
	}
}

// watch checks that list --watch updates the terminal when a VM stops, and restores it.
func (p *project) watch(name string) {
	p.t.Helper()
	e := p.terminal("watch", 120, 50, "echo before; claude-vm-ctl list --watch")
	e.shows("/日本 ")
	if got := e.tmux("display-message", "-p", "#{cursor_flag} #{alternate_on}"); got != "0 1\n" {
		p.t.Errorf("during list --watch, cursor and alternate screen: %s", got)
	}
	p.ctl("stop", name).ok()
	p.eventually("the VM disappears from the list", func() bool { return !strings.Contains(e.screen(), "/日本 ") })
	e.keys("C-c")
	e.shows("status=0")
	if got := e.tmux("display-message", "-p", "#{cursor_flag} #{alternate_on}"); got != "1 0\n" || !strings.HasPrefix(e.screen(), "before\n") {
		p.t.Errorf("after list --watch, cursor and alternate screen: %s%s", got, e.screen())
	}
}
