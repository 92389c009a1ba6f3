package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// homeTest is a home directory. Its methods fail the test on errors.
type homeTest struct {
	t *testing.T
	home
}

func newHomeTest(t *testing.T) *homeTest {
	captureLog(t)
	return &homeTest{t: t, home: home{dir: t.TempDir()}}
}

// write writes a file of the home and its parent directories.
func (h *homeTest) write(name, text string) {
	h.t.Helper()
	path := filepath.Join(h.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		h.t.Fatal(err)
	}
}

// start prepares the home for a start of Claude Code and compares the warnings with a regular
// expression.
func (h *homeTest) start(settings, warnings string) {
	h.t.Helper()
	h.warnings.Reset()
	h.prepare("/work dir", []byte(settings), func(name string) string {
		return map[string]string{"ANTHROPIC_API_KEY": "sk-ant-0123456789-0123456789"}[name]
	})
	if got := h.warnings.String(); !regexp.MustCompile("^(?:" + warnings + ")$").MatchString(got) {
		h.t.Errorf("warnings: %s", got)
	}
}

// want compares a JSON file.
func (h *homeTest) want(name, want string) {
	h.t.Helper()
	text, err := os.ReadFile(filepath.Join(h.dir, name))
	if err != nil {
		h.t.Fatal(err)
	}
	var values [2]any
	for i, text := range []string{string(text), want} {
		if err := json.Unmarshal([]byte(text), &values[i]); err != nil {
			h.t.Fatalf("%s: %v", text, err)
		}
	}
	if diff := cmp.Diff(values[1], values[0]); diff != "" {
		h.t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

const (
	newState    = `{"projects": {"/work dir": {"hasTrustDialogAccepted": true}}, "hasCompletedOnboarding": true, "customApiKeyResponses": {"approved": ["123456789-0123456789"]}}`
	ownState    = `{"hasCompletedOnboarding": false, "projects": {"/other": {"x": 12345678901234567890, "y": "<&>"}}, "numStartups": 7}`
	mergedState = `{"projects": {"/work dir": {"hasTrustDialogAccepted": true}, "/other": {"x": 12345678901234567890, "y": "<&>"}}, "hasCompletedOnboarding": false, "customApiKeyResponses": {"approved": ["123456789-0123456789"]}, "numStartups": 7}`
	newSettings = `{"skipDangerousModePermissionPrompt": true}`
)

func TestEmptyHome(t *testing.T) {
	h := newHomeTest(t)
	h.start("", "")
	h.want(stateFile, newState)
	h.want(settingsFile, newSettings)
	for name, want := range map[string]string{"rc": "store-dir=node_modules/.pnpm-store\n", "config.yaml": "storeDir: node_modules/.pnpm-store\n"} {
		if got, err := os.ReadFile(filepath.Join(h.dir, ".config/pnpm", name)); string(got) != want || err != nil {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	// Nothing to add: the files are not written.
	old := time.Unix(1e9, 0)
	files := []string{stateFile, settingsFile, ".config/pnpm/rc", ".config/pnpm/config.yaml"}
	for _, name := range files {
		if err := os.Chtimes(filepath.Join(h.dir, name), old, old); err != nil {
			t.Fatal(err)
		}
	}
	h.start("", "")
	for _, name := range files {
		if info, err := os.Stat(filepath.Join(h.dir, name)); err != nil || !info.ModTime().Equal(old) {
			t.Errorf("%s was written: %v", name, err)
		}
	}
	h.start(`{"env": {"A": "a && b"}}`, "")
	h.want(settingsFile, `{"env": {"A": "a && b"}, "skipDangerousModePermissionPrompt": true}`)
}

// TestMergeJSON checks that what a file has takes precedence and is kept byte by byte.
func TestMergeJSON(t *testing.T) {
	h := newHomeTest(t)
	h.write(stateFile, "\xef\xbb\xbf"+ownState)
	h.write(settingsFile, `{"skipDangerousModePermissionPrompt": null}`)
	h.start("", "")
	h.want(stateFile, mergedState)
	h.want(settingsFile, `{"skipDangerousModePermissionPrompt": null}`)
	text, err := os.ReadFile(filepath.Join(h.dir, stateFile))
	if err != nil || !strings.Contains(string(text), `12345678901234567890`) || !strings.Contains(string(text), `"<&>"`) {
		t.Errorf("merged: %s, %v", text, err)
	}
}

func TestBrokenHome(t *testing.T) {
	aside := func(name string) string {
		return "claude-vm: warning: .*/" + regexp.QuoteMeta(name) + " is not a JSON object: moved to .*/" + regexp.QuoteMeta(name) + ".invalid.[0-9]+\n"
	}
	for _, text := range []string{`{"a`, "{}\n{}\n", "null", "[1]", "7"} {
		h := newHomeTest(t)
		h.write(stateFile, text)
		h.write(settingsFile, "[1]")
		h.start("", aside(settingsFile)+aside(stateFile))
		h.want(stateFile, newState)
		h.want(settingsFile, newSettings)
		names, _ := filepath.Glob(filepath.Join(h.dir, stateFile) + ".*")
		if len(names) != 1 {
			t.Fatalf("files: %q", names)
		}
		if moved, err := os.ReadFile(names[0]); string(moved) != text || err != nil {
			t.Errorf("moved: %q, %v", moved, err)
		}
	}
	// A directory where a file is meant, and a file where a directory is.
	h := newHomeTest(t)
	h.write(stateFile+"/x", "")
	h.write(".claude", "")
	h.start("", "claude-vm: warning: cannot write .*/.claude/settings.json\n"+aside(stateFile))
	h.want(stateFile, newState)
}

// TestLinkedHome checks that links into dotfiles stay links, also if what they point to is
// missing.
func TestLinkedHome(t *testing.T) {
	h := newHomeTest(t)
	h.write("dotfiles/claude.json", ownState)
	for link, target := range map[string]string{stateFile: "dotfiles/claude.json", settingsFile: "../dotfiles/new/settings.json"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(h.dir, link)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, filepath.Join(h.dir, link)); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if got, err := os.Readlink(filepath.Join(h.dir, link)); got != target || err != nil {
				t.Errorf("%s is a link to %q, %v", link, got, err)
			}
		}()
	}
	h.start("", "")
	h.want("dotfiles/claude.json", mergedState)
	h.want("dotfiles/new/settings.json", newSettings)
}

// TestLinkUserConfig checks the links to what the host's user has written, and that those of an
// earlier start go.
func TestLinkUserConfig(t *testing.T) {
	h := newHomeTest(t)
	user := &homeTest{t: t, home: home{dir: t.TempDir()}}
	user.write("CLAUDE.md", "")
	user.write("skills/one/SKILL.md", "")
	user.write("skills/own/SKILL.md", "")
	user.write("skills/.hidden", "")
	h.write(".claude/skills/own/SKILL.md", "")
	for _, name := range []string{"skills/old", "agents"} {
		if err := os.Symlink(user.dir+"/"+name, h.dir+"/.claude/"+name); err != nil {
			t.Fatal(err)
		}
	}
	h.linkUserConfig(user.dir)
	for name, want := range map[string]string{"CLAUDE.md": user.dir + "/CLAUDE.md", "skills/one": user.dir + "/skills/one", "skills/own": "", "skills/old": "", "skills/.hidden": "", "agents": ""} {
		if got, _ := os.Readlink(h.dir + "/.claude/" + name); got != want {
			t.Errorf("%s is a link to %q, not %q", name, got, want)
		}
	}
	if h.warnings.Len() > 0 {
		t.Errorf("warnings: %s", h.warnings.String())
	}
}

func TestVariables(t *testing.T) {
	env := []string{"A=1", "AB=2", "A=3=4", "C="}
	if got := variable(env, "A"); got != "3=4" {
		t.Errorf("variable(A) = %q", got)
	}
	if diff := cmp.Diff([]string{"AB=2", "C="}, withoutVariables(env, "A", "X")); diff != "" {
		t.Errorf("withoutVariables() mismatch (-want +got):\n%s", diff)
	}
}

// TestAs checks the access to files of a thread, which must not change that of other threads.
func TestAs(t *testing.T) {
	if os.Getuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("must run as root")
		}
		t.Skip("the files of another user are only accessible to root")
	}
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var as error
	err := (*root)(nil).as(&syscall.Credential{Uid: claudeID, Gid: claudeID}, func() { _, as = os.ReadFile(secret) })
	if err != nil || !os.IsPermission(as) {
		t.Errorf("as() = %v, read: %v", err, as)
	}
	if _, err := os.ReadFile(secret); err != nil {
		t.Error(err)
	}
}
