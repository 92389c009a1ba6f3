//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// issued is the token that platform.claude.com of test/internet issues.
const issued = "sk-ant-oat01-test-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789_00"

// TestSignIn signs in once, and checks what the next VMs have: Claude's prompt without a question,
// the user's name in git and the user's skills, and the token nowhere but where it belongs. It is not
// parallel, because it changes the login and the home of all tests.
func TestSignIn(t *testing.T) {
	p := newProject(t, "first")
	home := os.Getenv("HOME")
	p.ctl("logout").ok()
	t.Cleanup(func() {
		p.ctl("logout").ok()
		writeFile(filepath.Join(home, ".config/credstore/ANTHROPIC_API_KEY"), apiKey+"\n")
	})
	p.ctl("login", "--status").fails(1, "no login is stored", "claude-vm-ctl login")
	ownLogin(t)
	p.input("sk-ant-oat01-old\n", "claude-vm-ctl", "login", "--with-token").ok()
	p.setupToken()
	stored := filepath.Join(home, ".config/credstore.encrypted/CLAUDE_CODE_OAUTH_TOKEN")
	if got, want := p.ctl("login", "--status", "--json").ok().stdout, `[{"name":"CLAUDE_CODE_OAUTH_TOKEN","kind":"token","path":"`+stored+`","encrypted":true}]`+"\n"; got != want {
		t.Errorf("login --status: %s, want %s", got, want)
	}
	p.userFiles()
	e := p.terminal("run", 100, 30, "claude-vm-ctl run .")
	e.shows(ready)
	t.Logf("the first screen:\n%s", e.screen())
	p.wantPrompt(e, "the login works", "Authorization", "Bearer "+issued)
	p.wantSecretOnly(issued)
	if got := p.guest("git commit -q --allow-empty -m one; git log -1 --format='%an <%ae>'; ls ~/.claude/skills; git check-ignore a.swp; git config credential.helper || true"); got != "Ada Lovelace <ada@work.example>\ngreet\na.swp\n" {
		t.Errorf("the guest has %s", got)
	}
	if got := p.guest("cat ~/.claude/settings.json ~/.claude/history.jsonl"); strings.Contains(got, "of the host") {
		t.Errorf("the guest has settings or the history of the host: %s", got)
	}
	e.exit()
	p.wantGone()
	p.keptHome()
}

// setupToken signs in with claude setup-token.
func (p *project) setupToken() {
	p.t.Helper()
	file := filepath.Join(os.Getenv("HOME"), ".config/claude-vm/login.vm")
	// The certificate of platform.claude.com is of the Internet of these tests.
	writeFile(file, "[VM]\nWorkDirectory=%C/claude-vm/login\n[Claude]\nEnvironment=NODE_TLS_REJECT_UNAUTHORIZED=0 CLAUDE_CODE_FULL_SIGN_IN_LINK=1\n")
	p.systemctl("daemon-reload").ok()
	defer func() {
		os.Remove(file)
		p.systemctl("daemon-reload").ok()
	}()
	e := p.terminal("login", 70, 45, "claude-vm-ctl login")
	e.pasteCode()
	e.shows("status=")
	if screen := strings.ReplaceAll(e.screen(), "\n", ""); !strings.Contains(screen, "login token, encrypted, in ") || !strings.Contains(screen, "status=0") {
		p.t.Fatalf("login: %s", screen)
	}
	if _, err := os.Stat(filepath.Join(os.Getenv("HOME"), ".cache/claude-vm/login")); err == nil {
		p.t.Error("the directory of the login is left")
	}
}

// pasteCode types the code that a browser would show after the login.
func (e *emulator) pasteCode() {
	e.p.t.Helper()
	e.shows("Paste code here")
	state := regexp.MustCompile(`state=([A-Za-z0-9_-]+)`).FindStringSubmatch(strings.ReplaceAll(e.screen(), "\n", ""))
	if state == nil {
		e.p.t.Fatalf("no state in the URL")
	}
	e.keys("-l", "code#"+state[1])
	e.shows("****")
	e.keys("Enter")
}

// ownLogin signs in in the VM, as without claude-vm-ctl login, and checks that it is kept with Home=.
func ownLogin(t *testing.T) {
	t.Helper()
	p := newProject(t, "own")
	p.vmFile("[Claude]\nHome=project\nEnvironment=NODE_TLS_REJECT_UNAUTHORIZED=0 CLAUDE_CODE_FULL_SIGN_IN_LINK=1\n")
	e := p.terminal("own", 100, 45, "claude-vm-ctl run .")
	e.shows("Choose the text style")
	e.keys("Enter")
	e.shows("Select login method")
	e.keys("Enter")
	e.pasteCode()
	e.shows("Login successful")
	p.eventually("Claude is ready", func() bool {
		e.keys("Enter") // several screens
		time.Sleep(2 * time.Second)
		return strings.Contains(e.screen(), "Claude Max")
	})
	e.exit()
	e = p.terminal("again", 100, 45, "claude-vm-ctl run .")
	e.shows("Claude Max")
	if strings.Contains(e.screen(), "Not logged in") {
		t.Errorf("the login is not kept:\n%s", e.screen())
	}
	e.exit()
	if err := os.RemoveAll(filepath.Join(os.Getenv("HOME"), ".local/state/claude-vm/project", p.id)); err != nil {
		t.Error(err)
	}
}

// userFiles writes what a user has on the host: a name for work, and files of Claude Code, as links
// to dotfiles.
func (p *project) userFiles() {
	p.t.Helper()
	home := os.Getenv("HOME")
	for name, text := range map[string]string{
		".gitconfig":                "[user]\n\tname = Ada Lovelace\n\temail = ada@home.example\n[credential]\n\thelper = store\n[includeIf \"gitdir:~/TestSignIn/\"]\n\tpath = ~/work.inc\n[core]\n\texcludesFile = ~/ignored\n",
		"ignored":                   "*.swp\n",
		"work.inc":                  "[user]\n\temail = ada@work.example\n",
		"dot/skills/greet/SKILL.md": "---\nname: greet\ndescription: Greets as a pirate-of-the-host does.\n---\nSay ahoy.\n",
		"dot/CLAUDE.md":             "Always mention the albatross.\n",
		".claude/settings.json":     `{"cleanupPeriodDays": 3, "env": {"FROM": "settings of the host"}}`,
		".claude/history.jsonl":     `{"display": "history of the host"}`,
	} {
		writeFile(filepath.Join(home, name), text)
	}
	for name, target := range map[string]string{"CLAUDE.md": "../dot/CLAUDE.md", "skills": filepath.Join(home, "dot/skills")} {
		if err := os.Symlink(target, filepath.Join(home, ".claude", name)); err != nil {
			p.t.Fatal(err)
		}
	}
	p.t.Cleanup(func() {
		for _, name := range []string{".gitconfig", "ignored", "work.inc", "dot", ".claude"} {
			os.RemoveAll(filepath.Join(home, name))
		}
	})
	p.command("git", "init", "-q").ok()
}

// wantPrompt types a prompt, and checks the request that the API gets.
func (p *project) wantPrompt(e *emulator, text, header, value string) {
	p.t.Helper()
	e.keys("-l", "say: "+text)
	e.shows("say: " + text)
	e.keys("Enter")
	p.eventually("the answer is on the screen", func() bool { return strings.Count(e.screen(), text) == 2 })
	for _, r := range api.Requests() {
		if !strings.Contains(r.LastUserText, "say: "+text) {
			continue
		}
		if got := r.Header.Get(header); got != value {
			p.t.Errorf("the API received %s: %q", header, got)
		}
		for _, part := range []string{"Greets as a pirate-of-the-host does.", "Always mention the albatross."} {
			if !strings.Contains(r.Body, part) {
				p.t.Errorf("the request does not have %q", part)
			}
		}
		return
	}
	p.t.Error("the API did not receive the prompt")
}

// exit leaves Claude. Unlike the stop of a VM, this may take long on a busy machine.
func (e *emulator) exit() {
	e.p.t.Helper()
	e.keys("-l", "/exit")
	e.shows("/exit")
	e.keys("Enter")
	e.shows("status=0")
}

// wantSecretOnly checks that a secret is in the file of the gateway, and nowhere else.
func (p *project) wantSecretOnly(secret string) {
	p.t.Helper()
	run := os.Getenv("XDG_RUNTIME_DIR")
	found := strings.Fields(p.input(secret, "sh", "-c", `exec grep -rlsF -D skip -f - "$HOME" "$XDG_RUNTIME_DIR" /tmp /var/tmp`).stdout)
	// The gateway's file also shows that the search works.
	if want := []string{filepath.Join(run, "claude-vm/."+p.id+".secrets")}; !slices.Equal(found, want) {
		p.t.Errorf("the token is in %q, want %q", found, want)
	}
	if n := len(strings.Fields(p.input(secret, "sh", "-c", `grep -lsF -f - /proc/[0-9]*/environ /proc/[0-9]*/cmdline`).stdout)); n > 0 {
		p.t.Errorf("the token is in environments or command lines of %d processes", n)
	}
	if strings.Contains(p.command("journalctl", "--user", "--no-pager", "--output=export").stdout, secret) {
		p.t.Error("the token is in the journal")
	}
	pid := p.property("MainPID")
	if n := p.memory(pid, secret); n > 0 {
		p.t.Errorf("the token is in the memory of the guest, %d times", n)
	}
	if p.memory(pid, "sk-ant-claude-vm-CLAUDE-CODE-OAUTH-TOKEN") == 0 { // the search works
		p.t.Error("the placeholder was not found in the memory of the guest")
	}
}

// keptHome checks an API key, and what happens to a kept home that has a skill of its own.
func (p *project) keptHome() {
	p.t.Helper()
	const key = "sk-ant-api03-test-0123456789012345678901234567890123456789"
	p.input(key, "claude-vm-ctl", "login", "--with-token").ok()
	kept := filepath.Join(os.Getenv("HOME"), ".local/state/claude-vm/project", p.id)
	writeFile(filepath.Join(kept, ".claude/skills/own/SKILL.md"), "own")
	writeFile(filepath.Join(kept, ".claude/agents/own.md"), "own")
	p.vmFile("[Claude]\nHome=project\nSkipPermissions=yes\n")
	e := p.terminal("kept", 100, 30, "claude-vm-ctl run .")
	e.shows("bypass permissions on")
	p.t.Logf("the first screen:\n%s", e.screen())
	p.wantPrompt(e, "the key works", "X-Api-Key", key)
	if got := p.guest("cd ~/.claude; ls skills; cat skills/own/SKILL.md skills/greet/SKILL.md CLAUDE.md; if echo x >>CLAUDE.md; then echo writable; fi 2>/dev/null"); got != "greet\nown\nown---\nname: greet\ndescription: Greets as a pirate-of-the-host does.\n---\nSay ahoy.\nAlways mention the albatross.\n" {
		p.t.Errorf("the kept home has %q", got)
	}
	e.exit()
	p.vmFile("[Claude]\nHome=project\nUserConfig=no\n")
	p.ctl("start", ".").ok()
	if got := p.guest("cd ~/.claude; ls skills agents; ls CLAUDE.md || echo none; git config user.name || echo none"); got != "agents:\nown.md\n\nskills:\nown\nnone\nnone\n" {
		p.t.Errorf("without UserConfig=, the kept home has %q", got)
	}
}
