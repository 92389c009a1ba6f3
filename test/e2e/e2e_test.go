//go:build e2e

// Package e2e tests the complete system with the real components: systemd's user
// manager, journald, QEMU, virtiofsd, the guest's kernel and Claude Code. Only
// the Anthropic API is replaced, by a server on loopback. The tests run in the
// test host, as an unprivileged user; see scripts/test.
package e2e

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/test/anthropic"
)

// patience is the timeout of every wait. It is long because the machine emulates
// the VM and may be busy with other VMs, and not shorter than the timeouts of the units.
const patience = 15 * time.Minute

// settings make the VMs small, so that two can run on a machine with two cores, and
// make Claude use the test API, to which the gateway passes its requests.
// TestDefaults checks the values that they override. Without RESUME=no, each test would make a snapshot
// beside the VMs of others; tests of that use resumes.
const settings = `[Service]
Environment=CPUS=1 MEMORY=1G RESUME=no
Environment=ANTHROPIC_BASE_URL=http://127.0.0.1:%d
Environment=CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1 CLAUDE_CODE_DISABLE_OFFICIAL_MARKETPLACE_AUTOINSTALL=1
`

// apiKey is a credential that the gateway adds to requests; it does not enter the guest.
const apiKey = "sk-ant-test-0123456789012345678901234567890123456789"

var (
	api     = anthropic.New()
	apiPort int
)

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == attackCommand {
		attackAsQEMU(os.Args[2])
		return
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	apiPort = l.Addr().(*net.TCPAddr).Port
	go http.Serve(l, api)
	home, err := os.UserHomeDir()
	if err != nil {
		panic(err)
	}
	writeFile(filepath.Join(home, ".config/credstore/ANTHROPIC_API_KEY"), apiKey+"\n")
	writeFile(filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "systemd/user/claude-vm@.service.d/20-test.conf"), fmt.Sprintf(settings, apiPort))
	if out, err := exec.Command("systemctl", "--user", "daemon-reload").CombinedOutput(); err != nil {
		panic(string(out))
	}
	return m.Run()
}

func writeFile(path, text string) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		panic(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		panic(err)
	}
}

// project is a work directory and its instance.
type project struct {
	t   testing.TB
	dir string
	id  string
}

// newProject creates a work directory below a directory named after the test. Its VM
// is stopped when the test ends.
func newProject(t testing.TB, name string) *project {
	t.Helper()
	home, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	return newProjectAt(t, filepath.Join(home, strings.ReplaceAll(t.Name(), "/", "."), name))
}

func newProjectAt(t testing.TB, dir string) *project {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	p := &project{t: t, dir: dir}
	p.id = strings.TrimSpace(p.ctl("id", dir).ok().stdout)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("journal of %s:\n%s", p.id, tail(p.journal(), 60))
		}
		exec.Command("systemctl", "--user", "stop", p.unit()).Run()
		exec.Command("systemctl", "--user", "reset-failed", p.unit()).Run()
	})
	return p
}

func (p *project) unit() string { return instance.VM.Unit(p.id) }

// result is the output and the exit status of a command.
type result struct {
	t              testing.TB
	what           string
	stdout, stderr string
	status         int
}

func (r result) ok() result {
	r.t.Helper()
	if r.status != 0 {
		r.t.Fatalf("%s: status %d\nstdout: %s\nstderr: %s", r.what, r.status, r.stdout, r.stderr)
	}
	return r
}

// failure returns the output of claude-vm-ctl for an error with a message and, unless
// empty, a hint.
func failure(message, hint string) string {
	text := "claude-vm-ctl: error: " + message + "\n"
	if hint != "" {
		text += "claude-vm-ctl: hint: " + hint + "\n"
	}
	return text
}

// fails wants this status and this error as the only output.
func (r result) fails(status int, message, hint string) {
	r.t.Helper()
	want := failure(message, hint)
	if r.status != status || r.stdout != "" || r.stderr != want {
		r.t.Errorf("%s: status %d, stdout %q, stderr %q, want %d and %q", r.what, r.status, r.stdout, r.stderr, status, want)
	}
}

// command runs a program in the work directory, with empty standard input.
func (p *project) command(name string, args ...string) result {
	return p.input("", name, args...)
}

func (p *project) input(stdin, name string, args ...string) result {
	p.t.Helper()
	return p.spawn(stdin, name, args...).wait()
}

// process is a command that was started and may still be running.
type process struct {
	*exec.Cmd
	t              testing.TB
	stdout, stderr bytes.Buffer
}

// spawn is like input, but does not wait for the command to exit.
func (p *project) spawn(stdin, name string, args ...string) *process {
	p.t.Helper()
	b := &process{Cmd: exec.Command(name, args...), t: p.t}
	b.Dir = p.dir
	b.Stdin = strings.NewReader(stdin)
	b.Stdout, b.Stderr = &b.stdout, &b.stderr
	if err := b.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { b.Process.Kill(); b.Wait() })
	return b
}

// wait waits for the command to exit and returns its result.
func (b *process) wait() result {
	late := time.AfterFunc(patience, func() { b.Process.Kill() })
	defer late.Stop()
	b.Wait()
	return result{b.t, strings.Join(b.Args, " "), b.stdout.String(), b.stderr.String(), b.ProcessState.ExitCode()}
}

// interrupt sends SIGINT, as Ctrl-C does, and waits.
func (b *process) interrupt() result {
	b.Process.Signal(os.Interrupt)
	return b.wait()
}

func (p *project) ctl(args ...string) result {
	p.t.Helper()
	return p.command("claude-vm-ctl", args...)
}

// guest runs a shell script in the VM, which must succeed, and returns its output.
func (p *project) guest(script string) string {
	p.t.Helper()
	return p.ctl("shell", ".", "--", "sh", "-ec", script).ok().stdout
}

// root runs a shell script in the VM as root. The script may fail, the connection may not.
func (p *project) root(script string) result {
	p.t.Helper()
	r := p.ctl("shell", "--root", ".", "--", "sh", "-c", script)
	if strings.Contains(r.stderr, "cannot connect to the VM on ") || strings.Contains(r.stderr, "lost the connection to the VM on ") {
		p.t.Errorf("%s: status %d, %s", r.what, r.status, r.stderr)
	}
	return r
}

func (p *project) systemctl(args ...string) result {
	p.t.Helper()
	return p.command("systemctl", append([]string{"--user"}, args...)...)
}

// property returns the value of a property of the VM's unit.
func (p *project) property(name string) string {
	p.t.Helper()
	return strings.TrimSpace(p.systemctl("show", "--value", "--property="+name, p.unit()).ok().stdout)
}

func (p *project) journal() string {
	args := []string{"--user", "--no-pager", "--output=cat"}
	for _, unit := range instance.Units(p.id) {
		args = append(args, "--unit="+unit)
	}
	return p.command("journalctl", args...).stdout
}

func (p *project) write(name, text string) {
	p.t.Helper()
	if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o644); err != nil {
		p.t.Fatal(err)
	}
}

func (p *project) read(name string) string {
	p.t.Helper()
	text, err := os.ReadFile(filepath.Join(p.dir, name))
	if err != nil {
		p.t.Error(err)
	}
	return string(text)
}

// eventually waits until a condition is true.
func (p *project) eventually(what string, holds func() bool) {
	p.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if holds() {
			return
		}
	}
	p.t.Fatalf("timeout while waiting for: %s", what)
}

// wantGone checks that nothing of the instance is left.
func (p *project) wantGone() {
	p.t.Helper()
	// The units of the share and of the runtime directory stop after the VM's unit.
	p.eventually("all units are unloaded", func() bool {
		list := append([]string{"list-units", "--all", "--plain", "--no-legend"}, instance.Units(p.id)...)
		return p.systemctl(list...).ok().stdout == ""
	})
	if out := p.command("pgrep", "-af", "guest="+strings.ReplaceAll(p.id, `\`, `\\`)+",").stdout; out != "" {
		p.t.Errorf("QEMU is still running:\n%s", out)
	}
	left, err := os.ReadDir(filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "claude-vm"))
	if err != nil {
		p.t.Fatal(err)
	}
	for _, e := range left {
		if name := e.Name(); name == p.id || strings.HasPrefix(name, "."+p.id+".") {
			p.t.Errorf("%s is not removed from the runtime directory", name)
		}
	}
}

func tail(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
