//go:build e2e

package e2e

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSecrets checks that the API key works, and is nowhere in the guest.
func TestSecrets(t *testing.T) {
	t.Parallel()
	p := newProject(t, "secrets")
	p.certificates()
	token := filepath.Join(filepath.Dir(p.dir), "token")
	p.vmFile("[Claude]\nEnvironment=ANTHROPIC_BASE_URL=https://api.anthropic.com\n[Network]\nMode=allow\nExtraCA=/srv/ca.pem\n" +
		"Inject=GIT_TOKEN:git.test:basic\nInjectCommand=" + word("GIT_TOKEN=cat "+token) + "\n")
	os.Remove(token) // of an earlier run of this test
	p.ctl("start").fails(122, "the VM on "+p.dir+" did not start: InjectCommand=GIT_TOKEN: exit status 1: cat: "+token+": No such file or directory", "claude-vm-ctl logs")
	writeFile(token, "an-expired-token\n")
	p.start()
	// The command runs again when a server does not accept the secret.
	writeFile(token, "git-token-0123456789\n")
	p.eventually("the secret is renewed", func() bool {
		return p.ctl("shell", ".", "--", "git", "ls-remote", "https://git.test/project.git").status == 0
	})
	// Claude Code itself, with what it needs to write a file.
	r := p.ctl("shell", ".", "--", "claude", "--dangerously-skip-permissions", "-p", "create made: in the guest").ok()
	if got := p.read("made"); got != "in the guest" {
		t.Errorf("Claude made %q: %s%s", got, r.stdout, r.stderr)
	}
	// git over https.
	p.guest(`git config --global user.email a@b; git config --global user.name a; git clone -q https://git.test/project.git repo; cd repo
		git commit -q --allow-empty -m one; git push -q origin HEAD:refs/heads/` + filepath.Base(p.dir))
	if got := p.guest("git ls-remote https://git.test/project.git"); !strings.Contains(got, "refs/heads/"+filepath.Base(p.dir)) {
		t.Errorf("git push: %s", got)
	}
	pid := p.property("MainPID")
	for _, secret := range []string{apiKey, "git-token-0123456789"} {
		if n := p.memory(pid, secret); n > 0 {
			t.Errorf("%q is in the memory of the guest, %d times", secret, n)
		}
		for _, file := range []string{"environ", "cmdline"} {
			if text, err := os.ReadFile(filepath.Join("/proc", pid, file)); err != nil || bytes.Contains(text, []byte(secret)) {
				t.Errorf("%q is in %s of QEMU, %v", secret, file, err)
			}
		}
		if text := p.command("grep", "-r", secret, filepath.Join(p.rootOf(p.unit()), "run/user")).stdout; text != "" {
			t.Errorf("%q is in a file that QEMU sees: %s", secret, text)
		}
	}
	// The search itself works.
	if p.memory(pid, "sk-ant-claude-vm-ANTHROPIC-API-KEY") == 0 {
		t.Error("the placeholder was not found in the memory of the guest")
	}
	// A caller's key, and a restart, which uses it again.
	p.ctl("stop", ".").ok()
	const own = "sk-ant-callers-key-0123456789"
	p.command("env", "ANTHROPIC_API_KEY="+own, "claude-vm-ctl", "start").ok()
	p.ctl("restart", ".").ok()
	if got := p.guest("curl -sS -H \"x-api-key: $ANTHROPIC_API_KEY\" http://gateway.internal/v1/nothing >&2; echo $ANTHROPIC_BASE_URL"); got != "http://gateway.internal\n" {
		t.Errorf("after a restart: %s", got)
	}
	if n := p.memory(p.property("MainPID"), own); n > 0 {
		t.Errorf("the caller's key is in the memory of the guest, %d times", n)
	}
	text, err := os.ReadFile(filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "claude-vm/."+p.id+".secrets"))
	if err != nil || !bytes.Contains(text, []byte(own)) {
		t.Errorf("the gateway does not have the caller's key after a restart: %v", err)
	}
}

// memory returns how often a text is in the memory of QEMU's guest.
func (p *project) memory(pid, text string) (n int) {
	p.t.Helper()
	files, err := filepath.Glob(filepath.Join("/proc", pid, "fd/*"))
	if err != nil {
		p.t.Fatal(err)
	}
	for _, file := range files {
		if target, _ := os.Readlink(file); !strings.HasPrefix(target, "/memfd:memory-backend") {
			continue
		}
		f, err := os.Open(file)
		if err != nil {
			p.t.Fatal(err)
		}
		defer f.Close()
		buf := make([]byte, 1<<20)
		keep := 0
		for {
			got, err := f.Read(buf[keep:])
			n += bytes.Count(buf[:keep+got], []byte(text))
			if err == io.EOF {
				return n
			}
			if err != nil {
				p.t.Fatal(err)
			}
			end := keep + got
			keep = copy(buf, buf[max(0, end-len(text)+1):end])
		}
	}
	p.t.Fatal("the memory of the guest was not found")
	return 0
}

// TestToken checks a login token in place of a key: Claude Code sends it in another header.
func TestToken(t *testing.T) {
	t.Parallel()
	p := newProject(t, "token")
	const token = "sk-ant-oat01-test-0123456789012345678901234567890123456789"
	file := filepath.Join(filepath.Dir(p.dir), "oauth")
	writeFile(file, token+"\n")
	p.vmFile("[Claude]\nCredential=\nCredential=CLAUDE_CODE_OAUTH_TOKEN:" + file + "\n")
	r := p.ctl("run", ".", "--", "-p", "say: the token works").ok()
	if r.stdout != "the token works\n" {
		t.Errorf("Claude answered %q", r.stdout)
	}
	for _, r := range api.Requests() {
		if r.LastUserText == "say: the token works" {
			if got := r.Header.Get("Authorization"); got != "Bearer "+token || r.Header.Get("X-Api-Key") != "" {
				t.Errorf("the API received %q and the key %q", got, r.Header.Get("X-Api-Key"))
			}
			return
		}
	}
	t.Error("the API did not receive the prompt")
}
