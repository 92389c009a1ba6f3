package guard

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestPlanted changes everything in a git directory and a tree that the host obeys.
func TestPlanted(t *testing.T) {
	w := newTree(t)
	w.git(".git")
	w.git(".git/modules/lib")
	w.git("bare.git")
	w.write(".git/worktrees/one/gitdir", "/elsewhere/.git\n")
	w.write(".git/worktrees/one/commondir", "../..\n")
	w.write("src/main.go", "")
	w.write("Makefile", "all:\n")
	w.write(".vscode/settings.json", "{}")
	w.write(".envrc", "use flake")
	w.start()
	w.want("nothing was changed", w.end())
	if _, err := os.Stat(filepath.Dir(w.path)); !os.IsNotExist(err) {
		t.Errorf("nothing was changed, but a file is kept: %v", err)
	}
	w.start()

	for _, path := range []string{
		".git/config", ".git/config.worktree", ".git/commondir", ".git/hooks/post-checkout", ".git/info/attributes", ".git/rebase-merge/git-rebase-todo",
		".git/modules/lib/config", ".git/modules/lib/hooks/pre-commit", ".git/worktrees/one/config.worktree", ".git/worktrees/one/commondir",
		"bare.git/config", "deep/er/.gitattributes", ".gitmodules", "sub/.git", ".husky/pre-commit", ".github/workflows/ci.yml",
		"Makefile", ".vscode/settings.json", ".vscode/tasks.json", "x.code-workspace", "eslint.config.mjs", "docs/CLAUDE.md", ".claude/skills/x/SKILL.md",
	} {
		w.write(path, "planted")
	}
	w.write(".git/index", "not obeyed")
	w.write(".git/refs/heads/config", "not obeyed")
	w.write(".git/hooks/pre-push.sample", "not run")
	w.write("src/main.go", "package main")
	for _, path := range []string{"eslint.config.mjs", ".vscode/tasks.json", "deep/package.json", ".envrc", "deep/.git/hooks/post-checkout", "deep/.git/objects/x", "deep/.git/refs/x"} {
		w.write("web/node_modules/x/"+path, "installed")
	}
	w.write("venv/lib/python3/site-packages/x/conftest.py", "installed")
	w.git("vendor/x/.git")
	w.must(os.Remove(filepath.Join(w.dir, ".envrc")))
	w.want("planted", w.end(),
		"changed .git/config", "changed .git/modules/lib/config", "changed .git/worktrees/one/commondir", "changed .vscode/settings.json", "changed Makefile", "changed bare.git/config",
		"gone .envrc",
		"new .claude", "new .git/commondir", "new .git/config.worktree", "new .git/hooks/post-checkout", "new .git/info/attributes", "new .git/modules/lib/hooks/pre-commit", "new .git/rebase-merge/git-rebase-todo",
		"new .git/worktrees/one/config.worktree", "new .github", "new .gitmodules", "new .husky", "new .vscode/tasks.json",
		"new deep/er/.gitattributes", "new docs/CLAUDE.md", "new eslint.config.mjs", "new sub/.git", "new vendor/x/.git", "new web/node_modules/x/.envrc", "new web/node_modules/x/deep/.git", "new x.code-workspace",
	)
}

// TestDisguised plants what git and others obey in directories that look like git directories, or do
// not look like them.
func TestDisguised(t *testing.T) {
	w := newTree(t)
	w.git("clone/.git")
	w.write("dist/big/.vscode/plugin", strings.Repeat("x", maxContent)+"old")
	w.start()
	// HEAD is in one directory, and the rest in another one.
	w.write("sub/.git/HEAD", "ref: refs/heads/main\n")
	w.write("sub/.git/commondir", "../../common\n")
	w.write("common/objects/x", "")
	w.write("common/refs/x", "")
	w.write("common/config", "[core]\n")
	w.write("two/levels/.git/HEAD", "ref: refs/heads/main\n")
	w.write("two/levels/.git/commondir", "../..\n") // as git writes it in .git/worktrees/NAME
	// A link in place of a directory of git.
	w.must(os.RemoveAll(filepath.Join(w.dir, "clone/.git/hooks")))
	w.must(os.Symlink("../../common", filepath.Join(w.dir, "clone/.git/hooks")))
	w.must(os.Symlink("../../common", filepath.Join(w.dir, "clone/.git/info")))
	// A project that looks like a git directory.
	w.write("HEAD", "")
	w.write("refs/.envrc", "")
	w.write("objects/Makefile", "")
	w.write("info/Makefile", "")
	w.write("worktrees/x/.envrc", "")
	w.write("worktrees/.envrc", "")
	w.write(".vscode/tasks.json", "")
	w.write(".envrc", "")
	w.write(".gitconfig", "")
	w.write("dist/big/.vscode/plugin", strings.Repeat("x", maxContent)+"new")
	w.want("disguised", w.end(),
		"changed dist/big/.vscode/plugin",
		"new .envrc", "new .gitconfig", "new .vscode", "new clone/.git/hooks", "new clone/.git/info", "new common", "new info/Makefile", "new objects/Makefile",
		"new refs/.envrc", "new sub/.git", "new two/levels/.git", "new worktrees/.envrc", "new worktrees/x/.envrc",
	)
}

// TestPending checks that findings stay until they are accepted, undone or changed by the user.
func TestPending(t *testing.T) {
	w := newTree(t)
	w.write("Makefile", "one")
	w.write("tox.ini", "one")
	w.start()
	for _, path := range []string{"Makefile", "tox.ini", ".envrc", "a/.npmrc", ".vscode/tasks.json"} {
		w.write(path, "two")
	}
	all := []string{"changed Makefile", "changed tox.ini", "new .envrc", "new .vscode", "new a/.npmrc"}
	w.want("while it runs", w.pending(), all...)
	w.end()
	w.want("after it", w.pending(), all...)
	w.write("tox.ini", "the user's")
	w.must(os.Remove(filepath.Join(w.dir, "a/.npmrc")))
	w.want("after changes by the user", w.pending(), "changed Makefile", "new .envrc", "new .vscode")
	w.start()
	w.write(".envrc", "three")
	w.write("Makefile", "one")
	w.want("a second run", w.end(), "changed .envrc", "changed Makefile")
	w.want("of both runs", w.pending(), "new .envrc", "new .vscode")
	_, err := w.Accept(context.Background(), []string{filepath.Join(w.dir, ".vscode")})
	w.must(err)
	w.want("after one was accepted", w.pending(), "new .envrc")
	w.start()
	w.write(".vscode/tasks.json", "three")
	w.want("an accepted one that changes", w.pending(), "changed .vscode/tasks.json", "new .envrc")
	_, err = w.Accept(context.Background(), nil)
	w.must(err)
	w.want("all accepted while it runs", w.pending())
	w.want("at its end", w.end())
}

// TestCrash checks that the end of a run that was not seen is made up for at the next start.
func TestCrash(t *testing.T) {
	w := newTree(t)
	w.start()
	w.write("conftest.py", "")
	w.start()
	w.want("after the next start", w.pending(), "new conftest.py")
	w.want("at its end", w.end())
	w.want("still", w.pending(), "new conftest.py")
}

// TestOddTrees checks what else a guest can create.
func TestOddTrees(t *testing.T) {
	w := newTree(t)
	w.start()
	odd := "a\n\x1b[31m\xff"
	w.write(odd+"/Makefile", "")
	w.must(unix.Mkfifo(filepath.Join(w.dir, ".envrc"), 0o600))
	w.must(os.Symlink("/etc/passwd", filepath.Join(w.dir, "CLAUDE.md")))
	w.must(os.Symlink("loop", filepath.Join(w.dir, "loop")))
	w.must(os.Symlink("/etc", filepath.Join(w.dir, ".vscode")))
	w.must(os.Mkdir(filepath.Join(w.dir, ".husky"), 0))
	t.Cleanup(func() { os.Chmod(filepath.Join(w.dir, ".husky"), 0o700) })
	deep := w.dir
	for range maxDepth + 10 {
		deep = filepath.Join(deep, "d")
	}
	w.must(os.MkdirAll(deep, 0o700))
	want := []string{"new " + odd + "/Makefile", "new .envrc", "new .vscode", "new CLAUDE.md"}
	if os.Getuid() != 0 {
		want = append(want, "unread .husky")
	}
	want = append(want, "unread "+strings.TrimSuffix(strings.Repeat("d/", maxDepth+1), "/"))
	slices.Sort(want)
	w.want("odd", w.end(), want...)
	if got, want := Display(odd), `"a\n\x1b[31m\xff"`; got != want {
		t.Errorf("Display: %s, want %s", got, want)
	}
	w.must(os.Remove(filepath.Join(w.dir, "CLAUDE.md")))
	w.must(os.Symlink("/etc/group", filepath.Join(w.dir, "CLAUDE.md")))
	if got := w.pending(); slices.Contains(got, "new CLAUDE.md") {
		t.Errorf("a link to another file has the same state: %q", got)
	}
}

// TestWord checks in a shell that a path is one word, whatever a guest has named it.
func TestWord(t *testing.T) {
	for _, path := range []string{
		"/work/Makefile", "/work/it's", "/work/\x01'$(echo planted)'", "/work/\n`echo planted`", "/work/ends with\x7f\"", "/work/\\\xff\\", "/work/\u202e;x", "/work/\x0177",
	} {
		word := Word(path)
		out, err := exec.Command("bash", "-c", "printf %s "+word).Output()
		if err != nil || string(out) != path {
			t.Errorf("%s is %q to a shell, %v, want %q", word, out, err, path)
		}
		if Display(word) != word {
			t.Errorf("%q is not printable", word)
		}
	}
}

// TestChanging searches a tree while it changes.
func TestChanging(t *testing.T) {
	w := newTree(t)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			path := filepath.Join(w.dir, fmt.Sprint(i%7))
			os.RemoveAll(path)
			os.MkdirAll(filepath.Join(path, ".vscode"), 0o700)
			os.WriteFile(filepath.Join(path, ".vscode/x"), nil, 0o600)
			os.Symlink("/", filepath.Join(path, ".husky"))
		}
	}()
	for range 200 {
		if _, err := Take(context.Background(), []string{w.dir, filepath.Join(w.dir, "missing")}); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	<-stopped
}

// TestTooMany checks that a guest cannot fill the memory.
func TestTooMany(t *testing.T) {
	w := walker{ctx: context.Background(), found: Snapshot{Entries: map[string]Entry{}}}
	for i := range maxEntries {
		w.found.Entries[fmt.Sprint(i)] = Entry{}
	}
	if err := w.add(unix.AT_FDCWD, "/etc/passwd", "one more", "", &rules[0]); err != errTooMany {
		t.Errorf("error %v", err)
	}
}

func TestCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Take(ctx, []string{t.TempDir()}); err != context.Canceled {
		t.Errorf("error %v", err)
	}
}

// BenchmarkTake searches 10 and 100,000 files, one in a hundred of which a rule selects.
func BenchmarkTake(b *testing.B) {
	for _, files := range []int{10, 100_000} {
		w := newTree(b)
		w.git(".git")
		for i := range files {
			name := "file"
			if i%100 == 0 {
				name = "Makefile"
			}
			w.write(fmt.Sprintf("%d/%s%d", i/20, strings.TrimSuffix(name, "0"), i%20), "text")
			if name == "Makefile" {
				w.write(fmt.Sprintf("%d/Makefile", i/20), "text")
			}
		}
		b.Run(fmt.Sprint(files), func(b *testing.B) {
			for b.Loop() {
				if _, err := Take(context.Background(), []string{w.dir}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
