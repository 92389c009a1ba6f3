package step

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"golang.org/x/sys/unix"
)

// TestGitConfig runs git on both sides: as setup does, and as the guest reads it.
func TestGitConfig(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_CONFIG_HOME", filepath.Join(home, ".config"))
	t.Setenv("GIT_CONFIG_NOSYSTEM", "1")
	const public = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ"
	for name, text := range map[string]string{
		".gitconfig": "[user]\n\tname = \"A \\\"B\\\" \\\\ C\"\n\temail = home@example.com\n[init]\n\tdefaultBranch = trunk\n[credential]\n\thelper = store\n" +
			"[includeIf \"gitdir:~/work/\"]\n\tpath = work.inc\n",
		"work.inc":           "[user]\n\temail = work@example.com\n\tsigningKey = ~/.ssh/id\n[gpg]\n\tformat = ssh\n[commit]\n\tgpgSign\n[core]\n\texcludesFile = ~/ignored\n",
		"ignored":            "*.swp\n",
		".config/git/ignore": ".DS_Store\n",
		".ssh/id":            "-----BEGIN OPENSSH PRIVATE KEY-----\nsecret\n",
		".ssh/id.pub":        public + " a comment\n",
		"work/repo/x":        "",
		"other/repo/x":       "",
		"work/broken/x":      "",
	} {
		path := filepath.Join(home, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	git := func(args ...string) string {
		t.Helper()
		out, err := exec.Command("git", args...).Output()
		if err != nil {
			t.Fatalf("git %q: %v", args, err)
		}
		return string(out)
	}
	for _, dir := range []string{"work/repo", "other/repo", "work/broken"} {
		git("init", "-q", filepath.Join(home, dir))
	}
	git("-C", filepath.Join(home, "work/repo"), "config", "user.email", "repository@example.com")
	if err := os.WriteFile(filepath.Join(home, "work/broken/.git/config"), []byte("[core\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const ignored = "core.excludesfile=" + contract.GitIgnoreFile + "\n"
	const identity = "user.name=A \"B\" \\ C\nuser.email="
	for name, c := range map[string]struct {
		dir     string
		signing bool
		want    string
		ignore  string
	}{
		"includeIf":           {"work/repo", false, identity + "work@example.com\ninit.defaultbranch=trunk\n" + ignored, "*.swp\n"},
		"includeIf with key":  {"work/repo", true, identity + "work@example.com\ninit.defaultbranch=trunk\nuser.signingkey=key::" + public + "\ngpg.format=ssh\ncommit.gpgsign=true\n" + ignored, "*.swp\n"},
		"another repository":  {"other/repo", true, identity + "home@example.com\ninit.defaultbranch=trunk\n" + ignored, ".DS_Store\n"},
		"not a repository":    {"other", true, identity + "home@example.com\ninit.defaultbranch=trunk\n" + ignored, ".DS_Store\n"},
		"a broken repository": {"work/broken", true, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, ignore := gitConfig(t.Context(), instance.Paths{Home: home, Config: filepath.Join(home, ".config")}, filepath.Join(home, c.dir), c.signing)
			file := filepath.Join(t.TempDir(), "gitconfig")
			if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
				t.Fatal(err)
			}
			if list := git("config", "--file", file, "--list"); list != c.want {
				t.Errorf("the guest has %q, want %q", list, c.want)
			}
			if ignore != c.ignore {
				t.Errorf("the guest ignores %q, want %q", ignore, c.ignore)
			}
		})
	}
}

// TestGitIgnore checks that the user's file is not replaced by a secret.
func TestGitIgnore(t *testing.T) {
	home := t.TempDir()
	file := func(name string) string { return filepath.Join(home, name) }
	err := errors.Join(os.WriteFile(file("ignore"), []byte("text"), 0o600), os.WriteFile(file("large"), make([]byte, maxIgnore+1), 0o600),
		os.Mkdir(file("dir"), 0o700), os.WriteFile(file("dir/ignore"), []byte("text"), 0o600), os.Chown(file("ignore"), os.Getuid(), os.Getgid()),
		os.Symlink("ignore", file("link")), os.Symlink("dir", file("linked")), os.Symlink("/etc/passwd", file("public")), os.Symlink("/etc/shadow", file("shadow")),
		unix.Mkfifo(file("pipe"), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	passwd, err := os.ReadFile("/etc/passwd")
	if err != nil {
		t.Fatal(err)
	}
	for value, want := range map[string]string{
		"~/ignore": "text", file("dir/ignore"): "text", "~/public": string(passwd),
		"~/link": "", "~/linked/ignore": "", "~/shadow": "", "~/large": "", "~/pipe": "", "~/dir": "", "~/none": "", "ignore": "", "": "",
	} {
		if got := gitIgnore(instance.Paths{Home: home, Config: home}, value); got != want {
			t.Errorf("%q: %.20q, want %.20q", value, got, want)
		}
	}
}

// TestSharedClaude checks that a guest that could write in ~/.claude cannot make a link to a secret that the
// guest of another VM gets.
func TestSharedClaude(t *testing.T) {
	home := t.TempDir()
	paths := instance.Paths{Home: home, Runtime: filepath.Join(home, "run"), State: filepath.Join(home, "state")}
	claude, secret := filepath.Join(home, ".claude"), filepath.Join(home, "secret")
	if err := errors.Join(os.Mkdir(claude, 0o700), os.WriteFile(secret, nil, 0o600), os.Symlink(secret, filepath.Join(claude, "CLAUDE.md"))); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 { // links of root are trusted
		os.Lchown(filepath.Join(claude, "CLAUDE.md"), 1000, 1000)
	}
	for _, c := range []struct {
		dir  string
		want bool // the link of the user is followed
	}{{home + "/project", true}, {claude + "/skills", false}, {home + "/project", false}} {
		p := &plan{dir: c.dir, shares: []instance.Share{{Name: contract.ShareWork, Path: c.dir}}}
		p.settings.UserConfig = true
		if err := p.addUserConfig(paths, "id"); err != nil {
			t.Fatal(err)
		}
		if got := len(p.shares) == 2; got != c.want {
			t.Errorf("VM on %s: the link is followed: %v, want %v; %q", c.dir, got, c.want, p.warnings)
		}
	}
}
