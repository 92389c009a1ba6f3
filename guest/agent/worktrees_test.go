package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestKeepWorktrees(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("git/worktrees/far/gitdir", dir+"/far/away/.git\n")
	write("git/worktrees/relative/gitdir", "../../../relative/.git\n")
	write("git/worktrees/here/gitdir", dir+"/here/.git\n")
	write("here/.git", "gitdir: "+dir+"/git/worktrees/here\n")
	write("git/worktrees/new/gitdir", "")
	w := worktrees{owner: owner{home: "/home/claude"}, seen: map[string]time.Time{}}
	gitDirectories := []string{dir + "/none", dir + "/git"}
	w.scan(gitDirectories)
	for name, want := range map[string]string{"far/away/.git": "", "relative/.git": "", "here/.git": "gitdir: " + dir + "/git/worktrees/here\n"} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); string(got) != want || err != nil {
			t.Errorf("%s: %q, %v, want %q", name, got, err, want)
		}
	}
	// git completes the new worktree without a change of the directory's time.
	write("git/worktrees/new/gitdir", dir+"/new/.git\n")
	w.scan(gitDirectories)
	if _, err := os.Stat(dir + "/new/.git"); err != nil {
		t.Error(err)
	}
	if err := w.keep(dir + "/git/worktrees/removed"); !errors.Is(err, errIncomplete) {
		t.Errorf("a worktree that does not exist: %v", err)
	}
}

func TestCheckMountPoint(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"empty", "full/x"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(dir+"/file", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("empty", dir+"/link"); err != nil {
		t.Fatal(err)
	}
	o := owner{home: "/home/claude", uid: 1000}
	for path, fits := range map[string]bool{
		dir + "/new": true, dir + "/new/deep": true, dir + "/empty": true, dir + "/full/new": true,
		dir + "/full": false, dir + "/file": false, dir + "/file/x": false, dir + "/link": false, dir + "/link/x": false,
		"/work": false, "/work/x": false, "/worker/x": true, "/proc/x": false, "/run/user/1000/x": false, "/nix/store/x": false, "relative": false, "": false,
	} {
		if err := o.checkMountPoint(path); (err == nil) != fits {
			t.Errorf("%q: %v", path, err)
		}
	}
}
