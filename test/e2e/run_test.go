//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// pinned returns the version of Claude Code in the guest.
func pinned(t *testing.T) string {
	t.Helper()
	env, err := os.ReadFile("/usr/local/share/claude-vm/guest/guest.env")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(env), "claude-")
	version, _, _ := strings.Cut(rest, " ")
	if !found {
		t.Fatalf("guest.env does not contain the version of Claude Code:\n%s", env)
	}
	return version
}

func TestPromptEditsFile(t *testing.T) {
	t.Parallel()
	p := newProject(t, "prompt")
	r := p.ctl("run", ".", "--", "--dangerously-skip-permissions", "-p", "create hello.txt: hello from the guest").ok()
	if got := p.read("hello.txt"); strings.TrimSpace(got) != "hello from the guest" {
		t.Errorf("hello.txt is %q", got)
	}
	info, err := os.Stat(filepath.Join(p.dir, "hello.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if uid := info.Sys().(*syscall.Stat_t).Uid; int(uid) != os.Getuid() {
		t.Errorf("hello.txt is owned by %d, want %d", uid, os.Getuid())
	}
	if r.stdout != "created hello.txt\n" || r.stderr != "" {
		t.Errorf("stdout %q, stderr %q, want only the answer, on stdout", r.stdout, r.stderr)
	}
	p.wantGone()
}

func TestStandardStreams(t *testing.T) {
	t.Parallel()
	p := newProject(t, "streams")
	r := p.input("say: through the pipe", "claude-vm-ctl", "run", ".", "--", "-p").ok()
	if r.stdout != "through the pipe\n" || r.stderr != "" {
		t.Errorf("stdout %q, stderr %q", r.stdout, r.stderr)
	}
	p.wantGone()
}

func TestArgumentsReachClaudeUnchanged(t *testing.T) {
	t.Parallel()
	p := newProject(t, "arguments")
	prompt := "say: two  spaces 'single' \"double\" $HOME %n \\ * é\nsecond line\n" + strings.Repeat("x", 100_000)
	p.ctl("run", ".", "--", "-p", prompt, "--", "").ok()
	for _, r := range api.Requests() {
		if r.LastUserText == prompt {
			if got := r.Header.Get("X-Api-Key"); got != apiKey {
				t.Errorf("the API received the key %q, want %q", got, apiKey)
			}
			if !strings.Contains(r.Body, "You run in a virtual machine of claude-vm.") {
				t.Error("Claude does not read /etc/claude-code/CLAUDE.md of the guest")
			}
			p.wantNoSecret()
			return
		}
	}
	t.Error("the API did not receive the unchanged prompt")
}

// wantNoSecret checks places that must not contain the API key.
func (p *project) wantNoSecret() {
	p.t.Helper()
	for name, text := range map[string]string{
		"the journal":    p.command("journalctl", "--user", "--no-pager", "--output=export").stdout,
		"systemctl show": p.systemctl("show", p.unit()).stdout + p.systemctl("cat", p.unit()).stdout,
		"the directory":  p.command("grep", "-r", apiKey, p.dir).stdout,
		"command lines":  p.command("ps", "axeww", "-o", "args").stdout,
	} {
		if strings.Contains(text, apiKey) {
			p.t.Errorf("the API key is in %s", name)
		}
	}
}

func TestFailureOfClaude(t *testing.T) {
	t.Parallel()
	p := newProject(t, "failure")
	r := p.ctl("run", ".", "--", "-p", "fail: 400")
	if r.status != 1 {
		t.Errorf("status %d, want 1 from Claude; stdout %q, stderr %q", r.status, r.stdout, r.stderr)
	}
	for name, want := range map[string]string{
		"ActiveState": "failed", "Result": "exit-code", "StatusText": "Claude Code exited with status 1",
	} {
		if got := p.property(name); got != want {
			t.Errorf("%s=%s, want %s", name, got, want)
		}
	}
	if post := p.property("ExecStopPost"); !strings.Contains(post, "status=1") {
		t.Errorf("ExecStopPost=%s, want status=1 in it", post)
	}
}

// TestManyInARow starts and stops a VM many times as fast as possible.
func TestManyInARow(t *testing.T) {
	t.Parallel()
	p := newProject(t, "version")
	want := pinned(t) + " (Claude Code)\n"
	runs := 6
	if os.Getenv("CLAUDE_VM_TEST_SOAK") != "" {
		runs = 100
	}
	for i := range runs {
		r := p.ctl("run", ".", "--", "--version").ok()
		if r.stdout != want || r.stderr != "" {
			t.Fatalf("run %d: stdout %q, stderr %q, want only %q", i, r.stdout, r.stderr, want)
		}
		if i%5 == 4 { // a run must not get the arguments of another run
			r := p.ctl("run", ".", "--", "--help").ok()
			if !strings.HasPrefix(r.stdout, "Usage: claude ") {
				t.Fatalf("run %d with --help: stdout %.100q", i, r.stdout)
			}
		}
	}
	p.wantGone()
}

func TestOddDirectories(t *testing.T) {
	t.Parallel()
	for i, name := range []string{
		`-it's "all" $HOME ${HOME} %n%%,x=1 \n é漢;&|<>*?[a]#~` + "\t.",
		strings.Repeat("long-", 46) + "/" + strings.Repeat("directory-", 7),
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			p := newProject(t, name)
			escaped := strings.TrimSuffix(p.command("systemd-escape", "--path", p.dir).ok().stdout, "\n")
			if len(escaped) < 200 && p.id != escaped {
				t.Errorf("id %q, systemd-escape prints %q", p.id, escaped)
			}
			p.write("from host", "1")
			p.systemctl("start", p.unit()).ok()
			p.guest("cp '/work/from host' '/work/from guest'")
			if got := p.read("from guest"); got != "1" {
				t.Errorf("read %q", got)
			}
			p.ctl("stop", ".").ok()
			p.wantGone()
		})
	}
}
