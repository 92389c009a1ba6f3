package gitdir

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// shell runs a script with git in a new directory and returns the directory.
func shell(t *testing.T, script string) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-euc", script)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+dir, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_COUNT=3",
		"GIT_CONFIG_KEY_0=user.name", "GIT_CONFIG_VALUE_0=A", "GIT_CONFIG_KEY_1=user.email", "GIT_CONFIG_VALUE_1=a@example.org",
		"GIT_CONFIG_KEY_2=protocol.file.allow", "GIT_CONFIG_VALUE_2=always")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return dir
}

// TestFind checks what git itself creates. The script leaves the work directory as w.
func TestFind(t *testing.T) {
	const commit = "git commit -q --allow-empty -m x"
	for name, tt := range map[string]struct {
		script string
		want   Repository // relative to the directory of the script
	}{
		"no repository":               {"mkdir w", Repository{}},
		"empty .git":                  {"mkdir -p w/.git", Repository{}},
		"repository":                  {"git init -q w", Repository{"w/.git", "w/.git", true}},
		"bare repository":             {"git init -q --bare w", Repository{"w", "w", true}},
		"linked worktree":             {"git init -q m; cd m; " + commit + "; git worktree add -q ../w", Repository{"m/.git", "m/.git/worktrees/w", true}},
		"moved worktree":              {"git init -q m; cd m; " + commit + "; git worktree add -q ../v; git worktree move ../v ../w", Repository{"m/.git", "m/.git/worktrees/v", true}},
		"relative paths":              {"git init -q m; cd m; " + commit + "; git worktree add -q ../w; echo gitdir: ../m/.git/worktrees/w >../w/.git; echo ../../../../w/.git >.git/worktrees/w/gitdir", Repository{"m/.git", "m/.git/worktrees/w", true}},
		"worktree of a bare one":      {"git init -q a; (cd a; " + commit + "); git clone -q --bare a m; cd m; git worktree add -q -b x ../w", Repository{"m", "m/worktrees/w", true}},
		".git names a subdirectory":   {"git init -q --bare w/.bare; echo gitdir: ./.bare >w/.git", Repository{"w/.bare", "w/.bare", true}},
		"submodule":                   {"git init -q a; (cd a; " + commit + "); git init -q s; cd s; git submodule -q add ../a 'sub mod'; cd ..; ln -s s/sub\\ mod w", Repository{"s/.git/modules/sub mod", "s/.git/modules/sub mod", true}},
		"submodule of a worktree":     {"git init -q a; (cd a; " + commit + "); git init -q s; cd s; git submodule -q add ../a sub; git commit -qm x; git worktree add -q ../v; cd ../v; git submodule -q update --init; ln -s v/sub ../w", Repository{"s/.git/worktrees/v/modules/sub", "s/.git/worktrees/v/modules/sub", true}},
		"cloned with a separate one":  {"git init -q a; git clone -q --separate-git-dir=g a w 2>&1", Repository{"g", "g", false}},
		"created with a separate one": {"git init -q --separate-git-dir=g w", Repository{"g", "g", false}},
		"link":                        {"git init -q m; mkdir w; ln -s ../m/.git w/.git", Repository{"m/.git", "m/.git", false}},
		"link to a worktree's":        {"git init -q m; cd m; " + commit + "; git worktree add -q ../v; mkdir ../w; ln -s ../m/.git/worktrees/v ../w/.git", Repository{"m/.git", "m/.git/worktrees/v", false}},
		"not this worktree's":         {"git init -q m; cd m; " + commit + "; git worktree add -q ../v; mkdir ../w; cp ../v/.git ../w/.git", Repository{"m/.git", "m/.git/worktrees/v", false}},
		"not this submodule's":        {"git init -q m; git -C m config core.worktree ../../v; mkdir v w; echo gitdir: ../m/.git >w/.git", Repository{"m/.git", "m/.git", false}},
		// The guest of another VM can have made a git directory of its work directory, in which it cannot see all.
		"worktree of another project": {"git init -q a; (cd a; " + commit + "); git clone -q --bare a m; cd m; touch .env; git worktree add -q -b x ../w", Repository{"m", "m/worktrees/w", false}},
		"more files, but its name":    {"git init -q a; (cd a; " + commit + "); git clone -q --bare a m.git; cd m.git; touch notes; git worktree add -q -b x ../w", Repository{"m.git", "m.git/worktrees/w", true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := shell(t, tt.script)
			w, err := filepath.EvalSymlinks(filepath.Join(dir, "w"))
			if err != nil {
				t.Fatal(err)
			}
			got, err := Find(w)
			if tt.want.Common != "" {
				tt.want.Common, tt.want.Own = filepath.Join(dir, tt.want.Common), filepath.Join(dir, tt.want.Own)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
				t.Errorf("mismatch (-want +got):\n%s%v", diff, err)
			}
		})
	}
}

// TestFindInvalid checks what git does not accept, or what a guest could have left.
func TestFindInvalid(t *testing.T) {
	for name, script := range map[string]string{
		"text":               "mkdir w; echo hello >w/.git",
		"empty":              "mkdir w; : >w/.git",
		"nowhere":            "mkdir w; echo gitdir: /nowhere >w/.git",
		"dangling link":      "mkdir w; ln -s nowhere w/.git",
		"link to itself":     "mkdir w; ln -s .git w/.git",
		"named pipe":         "mkdir w; mkfifo w/.git",
		"no git directory":   "mkdir w x; echo gitdir: ../x >w/.git",
		"common elsewhere":   "git init -q m; mkdir -p w m/.git/worktrees/w s; echo /etc >m/.git/worktrees/w/commondir; echo gitdir: ../m/.git/worktrees/w >w/.git",
		"keys as common":     "mkdir -p w .ssh/worktrees/w; echo ../.. >.ssh/worktrees/w/commondir; pwd >.ssh/worktrees/w/gitdir; echo gitdir: ../.ssh/worktrees/w >w/.git",
		"common is a pipe":   "git init -q m; mkdir -p w m/.git/worktrees/w; mkfifo m/.git/worktrees/w/commondir; echo gitdir: ../m/.git/worktrees/w >w/.git",
		"the work directory": "git init -q --bare r; mkdir -p r/worktrees/w; echo ../.. >r/worktrees/w/commondir; echo gitdir: . >r/worktrees/w/.git; ln -s r/worktrees/w w",
		"larger than a path": "mkdir w; head -c 2000000 /dev/zero >w/.git",
	} {
		t.Run(name, func(t *testing.T) {
			w, err := filepath.EvalSymlinks(filepath.Join(shell(t, script), "w"))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := Find(w); err == nil && got.Confirmed {
				t.Errorf("found %+v", got)
			}
		})
	}
}

func TestAlternates(t *testing.T) {
	dir := shell(t, `git init -q a; git init -q b; git init -q w
		printf '# comment\n%s/a/.git/objects\n../../../b/.git/objects\n/nowhere\n' "$PWD" >w/.git/objects/info/alternates`)
	want := []string{dir + "/a/.git/objects", dir + "/b/.git/objects"}
	if diff := cmp.Diff(want, Alternates(dir+"/w/.git")); diff != "" {
		t.Errorf("mismatch (-want +got):\n%s", diff)
	}
}

func TestNested(t *testing.T) {
	dir := shell(t, `commit='git commit -q --allow-empty -m x'
		git init -q sub; (cd sub; $commit)
		for repository in w w/a w/deep/er/b w/far/too/deep/to/find/c w/node_modules/d w/none; do
			mkdir -p $repository && git init -q $repository && (cd $repository; $commit)
		done
		for repository in w w/a w/deep/er/b w/far/too/deep/to/find/c w/node_modules/d; do
			git -C $repository worktree add -q "$PWD/wt-$(echo $repository | tr / -)"
		done
		cd w; git submodule -q add ../sub s; git -C s worktree add -q "$PWD/../wt-s"`)
	want := []string{dir + "/w/.git", dir + "/w/.git/modules/s", dir + "/w/a/.git", dir + "/w/deep/er/b/.git"}
	if diff := cmp.Diff(want, Nested(dir+"/w")); diff != "" {
		t.Errorf("mismatch (-want +got):\n%s", diff)
	}
}

// TestOddModules searches what a guest may have created in place of the git directories of submodules
// and worktrees.
func TestOddModules(t *testing.T) {
	dir := shell(t, `git init -q w; cd w/.git; mkfifo worktrees; mkdir modules; cd modules; mkfifo pipe
		for i in $(seq 200); do ln -s . $i; done`)
	done := make(chan []string)
	go func() {
		Linked(dir+"/w/.git", dir)
		done <- Modules(dir + "/w/.git")
	}()
	select {
	case found := <-done:
		if len(found) > maxFound {
			t.Errorf("%d git directories", len(found))
		}
	case <-time.After(20 * time.Second):
		t.Error("the search has not ended")
	}
}

func TestCoreWorktree(t *testing.T) {
	for text, want := range map[string]string{
		"":                                    "",
		"[core]\n\tworktree = ../../../sub\n": "../../../sub",
		"[core]\n\tbare = false\n[other]\n\tworktree = x\n":       "",
		"[CORE]\nWorkTree=a # comment\n":                          "a",
		"[core]\n\tworktree = \"a;b\\\"c\\\\ \" ; comment\n":      "a;b\"c\\ ",
		"[core]\n\tworktree = a\n[core \"x\"]\n\tworktree = b\n":  "a",
		"[core]\n\tworktree = a\n\tworktree = b\n[core]\nbare=no": "b",
	} {
		file := filepath.Join(t.TempDir(), "config")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := coreWorktree(file); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
