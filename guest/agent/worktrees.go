package main

import (
	"cmp"
	"errors"
	"io"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"golang.org/x/sys/unix"
)

// worktreesInterval is how often keepWorktrees looks for worktrees that were added on the host.
// It is one stat(2) for each git directory.
const worktreesInterval = 5 * time.Second

// worktrees keeps the linked worktrees of git directories that only the host has. "git worktree
// prune", which "git gc" runs too, removes the index and HEAD of each worktree whose .git file
// does not exist. So the agent creates an empty file in place of each that is missing. An
// option of git would not do: prune has none.
type worktrees struct {
	owner owner
	seen  map[string]time.Time // modification times of the directories named worktrees
}

// keepWorktrees creates the files for git directories that exist now and starts to look for new
// ones.
func keepWorktrees(r *root, gitDirectories []string) error {
	o, err := lookupOwner(contract.UserClaude)
	if err != nil || len(gitDirectories) == 0 {
		return err
	}
	w := worktrees{owner: o, seen: map[string]time.Time{}}
	w.scan(gitDirectories)
	go func() {
		for range time.Tick(worktreesInterval) {
			r.do(func() error { w.scan(gitDirectories); return nil })
		}
	}()
	return nil
}

// scan creates the files for all worktrees of git directories that have changed.
func (w *worktrees) scan(gitDirectories []string) {
	for _, dir := range gitDirectories {
		dir = filepath.Join(dir, "worktrees")
		info, err := os.Stat(dir)
		if err != nil || info.ModTime().Equal(w.seen[dir]) {
			continue // usually, no worktrees
		}
		names, err := firstNames(dir)
		if err != nil {
			log.Print(err)
			continue
		}
		w.seen[dir] = info.ModTime()
		for _, name := range names {
			switch err := w.keep(filepath.Join(dir, name)); {
			case errors.Is(err, errIncomplete):
				delete(w.seen, dir)
			case err != nil:
				log.Printf("keep the worktree %q: %v", name, err)
			}
		}
	}
}

// errIncomplete means that git is just about to create a worktree.
var errIncomplete = errors.New("incomplete")

// keep creates an empty file in place of the .git file of a worktree, unless it exists or would
// be on the host. dir is the worktree's git directory.
func (w *worktrees) keep(dir string) error {
	text, err := readSmall(filepath.Join(dir, "gitdir"))
	path := strings.TrimRight(string(text), "\r\n")
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && path == "":
		return errIncomplete
	case err != nil:
		return err
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	if _, err := os.Lstat(path); err == nil || isOnShare(path) {
		return nil
	}
	if err := w.owner.makeDirectories(filepath.Dir(path)); err != nil {
		return err
	}
	return w.owner.makeFile(path)
}

// firstNames returns the names of the entries of a directory, at most 1000.
func firstNames(dir string) ([]string, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(1000)
	if errors.Is(err, io.EOF) { // empty
		err = nil
	}
	return names, err
}

// readSmall returns the content of a file. It fails for anything but a regular file of the size
// of a path: another VM may have left a named pipe, or a file that does not fit into memory.
func readSmall(name string) ([]byte, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() || info.Size() > unix.PathMax {
		return nil, cmp.Or(err, errors.New("gitdir is not a small file"))
	}
	return io.ReadAll(io.LimitReader(f, unix.PathMax))
}

// isOnShare reports whether a path that does not exist would be created on the host.
func isOnShare(path string) bool {
	for dir := path; ; dir = filepath.Dir(dir) {
		var st unix.Statfs_t
		if err := unix.Statfs(dir, &st); err == nil {
			return st.Type == unix.FUSE_SUPER_MAGIC
		} else if !errors.Is(err, fs.ErrNotExist) || dir == "/" {
			return true
		}
	}
}
