//go:build e2e

package e2e

import (
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"golang.org/x/sys/unix"
)

// oddNames are the paths that are protected by default, and others.
var oddNames = []string{
	".git", ".git/hooks", ".git/hooks/pre-commit", ".git/config", ".git/HEAD", ".git/commondir", ".git/worktrees/w/gitdir",
	".claude", ".claude/settings.json", ".claude/settings.local.json", ".mcp.json", ".envrc", ".vscode", ".vscode/tasks.json",
	".env", "dir", "dir/secret", "with space/x", `q"u'o\t$e%`, "日本/ü", strings.Repeat("n", 255),
}

// makeOdd creates one of the things that can be at a path.
func makeOdd(r *rand.Rand, path string) {
	os.MkdirAll(filepath.Dir(path), 0o755) // fails if the parent is something else
	target := oddNames[r.Intn(len(oddNames))]
	if _, err := os.Lstat(path); err == nil {
		return // writing to a named pipe would block
	}
	switch r.Intn(16) {
	case 0, 1, 2:
		os.WriteFile(path, []byte("text\n"), 0o644)
	case 3, 4:
		os.MkdirAll(path, 0o755)
	case 5:
		os.Symlink(filepath.Base(path), path) // to itself
	case 6:
		os.Symlink(target, path) // from a directory, it often points to nothing
	case 7:
		os.Symlink(strings.Repeat("../", strings.Count(path, "/")+r.Intn(3))+target, path)
	case 8:
		os.Symlink("/etc/passwd", path)
	case 9:
		os.Symlink(".", path)
	case 10:
		unix.Mkfifo(path, 0o600)
	case 11:
		os.WriteFile(path, nil, 0)
	case 12:
		os.MkdirAll(path, 0o755)
		defer os.Chmod(path, os.FileMode(r.Intn(2)*0o100)) // nothing, or search only
	case 13:
		os.WriteFile(path, []byte("gitdir: "+target+"\n"), 0o644)
	case 14:
		os.WriteFile(path, []byte{0xff, 0, '\n'}, 0o444)
	case 15:
		unix.Mknod(path, unix.S_IFSOCK|0o600, 0)
	}
}

// oddTree fills a directory, which it creates, with odd things.
func oddTree(r *rand.Rand, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for range 1 + r.Intn(12) {
		makeOdd(r, filepath.Join(dir, oddNames[r.Intn(len(oddNames))]))
	}
	return nil
}

// TestOddTrees starts virtiofsd, and so the setup unit, on generated trees. Each must start or
// say in one line which path is at fault.
func TestOddTrees(t *testing.T) {
	t.Parallel()
	trees := 50
	if os.Getenv("CLAUDE_VM_TEST_SOAK") != "" {
		trees = 200
	}
	root := filepath.Join(os.Getenv("HOME"), t.Name())
	files := &project{t: t, dir: os.Getenv("HOME")}
	t.Cleanup(func() {
		files.command("sh", "-c", "rm ~/.config/claude-vm/odd-*.vm; chmod -R u+rwx "+root)
		files.systemctl("daemon-reload")
	})
	for i := range trees {
		dir := filepath.Join(root, fmt.Sprint(i))
		r := rand.New(rand.NewSource(int64(i)))
		if err := oddTree(r, dir); err != nil {
			t.Fatal(err)
		}
		text := "[VM]\nWorkDirectory=" + dir + "\n[Share]\n"
		for range r.Intn(4) {
			text += []string{"ReadOnly=", "Hide="}[r.Intn(2)] + word(oddNames[r.Intn(len(oddNames))]) + "\n"
		}
		writeFile(filepath.Join(os.Getenv("HOME"), fmt.Sprintf(".config/claude-vm/odd-%d.vm", i)), text)
	}
	files.systemctl("daemon-reload").ok()
	refused := 0
	for i := range trees {
		p := &project{t: t, dir: filepath.Join(root, fmt.Sprint(i))}
		p.id = instance.Escape(p.dir)
		unit := instance.Virtiofsd.Unit(p.id)
		r := p.systemctl("start", unit)
		if r.status != 0 { // otherwise it has started, and stops because no VM needs it
			refused++
			why := p.systemctl("show", "--value", "--property=StatusText", instance.Setup.Unit(p.id)).stdout
			if !strings.Contains(why, p.dir) {
				t.Errorf("tree %d: %s, setup says %q\n%s", i, strings.TrimSpace(r.stderr), why, tail(p.journal(), 20))
			}
		}
		p.systemctl("stop", unit)
		p.systemctl("reset-failed", unit, instance.Setup.Unit(p.id), instance.Runtime.Unit(p.id))
	}
	t.Logf("%d of %d trees were refused", refused, trees)
}

// TestOddDirectory starts a VM on a directory with links, a named pipe and a file in place of
// what is protected, and one that belongs to root; see scripts/test.
func TestOddDirectory(t *testing.T) {
	t.Parallel()
	p := newProjectAt(t, "/srv/closed")
	sh(t, p.dir, "git init -q; ln -s .envrc .envrc; mkfifo .mcp.json; rm -r .git/hooks; ln -s /etc .git/hooks; mkdir -m 0 .vscode; echo secret >plain; ln -s plain .env; ln -s nowhere dangling")
	p.vmFile("[Share]\nHide=.env dangling plain/x\n")
	p.dropin(instance.Virtiofsd.Unit(p.id), "tmpdir.conf", "Environment=TMPDIR=/none")
	p.start()
	r := p.root(`for file in .envrc .mcp.json .git/hooks .env plain dangling .vscode .claude; do mv $file away; rm -rf $file; done
		chmod 755 .vscode .claude; cat .env plain; git status --porcelain`)
	if strings.Contains(r.stdout, "secret") || strings.Count(r.stderr, "busy") < 14 {
		t.Errorf("root in the guest: %s%s", r.stdout, r.stderr)
	}
	sh(t, p.dir, "[ -L .envrc ]; [ -p .mcp.json ]; [ -L .git/hooks ]; [ -L .env ]; [ -L dangling ]; [ -d .vscode ]; [ -d .claude ]; [ $(cat plain) = secret ]; [ $(stat -c %a .vscode) = 0 ]")
}

// TestGroupDirectory writes in a directory of another user that is shared by a group.
func TestGroupDirectory(t *testing.T) {
	t.Parallel()
	p := newProjectAt(t, "/srv/team")
	sh(t, p.dir, "echo host >file; mkdir dir")
	p.start()
	p.guest("echo guest >>file; touch dir/new; mkdir sub; mv file sub; git init -q; git add .; git status --porcelain")
	if got := sh(t, p.dir, "cat sub/file; stat -c '%U %G' sub/file dir/new .git"); got != "host\nguest\ndev team\ndev team\ndev team\n" {
		t.Errorf("files on the host: %s", got)
	}
}

// TestUnwritable starts VMs on directories that the user cannot write, or not even read.
func TestUnwritable(t *testing.T) {
	t.Parallel()
	p := newProjectAt(t, "/usr/local")
	r := p.ctl("start", ".").ok()
	if !strings.Contains(r.stderr, "claude-vm-ctl: warning: you cannot create files in /usr/local, and neither can the VM: permission denied\n") {
		t.Errorf("stderr: %s", r.stderr)
	}
	if got := p.guest("ls; touch new 2>&1 || true"); !strings.Contains(got, "bin\n") || !strings.Contains(got, "touch: cannot touch 'new': ") {
		t.Errorf("output of the guest: %s", got)
	}
	p = newProjectAt(t, "/srv/readonly")
	r = p.ctl("start", ".").ok()
	if !strings.Contains(r.stderr, "claude-vm-ctl: warning: you cannot create files in /srv/readonly, and neither can the VM: read-only file system\n") {
		t.Errorf("stderr: %s", r.stderr)
	}
	if got := p.guest("touch new 2>&1 || true"); got != "touch: cannot touch 'new': Read-only file system\n" {
		t.Errorf("output of the guest: %s", got)
	}
	closed := &project{t: t, dir: os.Getenv("HOME")}
	closed.ctl("start", "/srv/closed/.claude").fails(121, "you cannot read /srv/closed/.claude: permission denied", "ls -ld /srv/closed/.claude")
}

// TestSharedHome runs two VMs with the same home at the same time.
func TestSharedHome(t *testing.T) {
	t.Parallel()
	a, b := newProject(t, "a"), newProject(t, "b")
	for _, p := range []*project{a, b} {
		p.vmFile("[Claude]\nHome=user\n")
	}
	starting := a.spawn("", "claude-vm-ctl", "start", ".")
	b.ctl("start", ".").ok()
	starting.wait().ok()
	trusted := 0
	for _, p := range []*project{a, b} {
		// Claude Code writes this file as a whole, and may drop what the other VM has added meanwhile.
		if p.guest(`jq -r --arg dir "$PWD" '.projects[$dir].hasTrustDialogAccepted' ~/.claude.json`) == "true\n" {
			trusted++
		}
		got := p.guest(`jq -r '.projects | type' ~/.claude.json; jq -r .skipDangerousModePermissionPrompt ~/.claude/settings.json; pgrep -x claude | wc -l`)
		if got != "object\ntrue\n1\n" {
			t.Errorf("%s: %s", p.dir, got)
		}
	}
	if trusted == 0 {
		t.Error("neither directory is trusted")
	}
	a.guest("echo a >~/from-a")
	b.eventually("b sees a's file", func() bool { return b.guest("cat ~/from-a 2>/dev/null || true") == "a\n" })
}
