// Package gitdir finds the git directories that belong to a work directory, also where git
// keeps them outside of it. See gitrepository-layout(5). It only reads files.
package gitdir

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// Repository is the git repository of a work directory. Paths are absolute and without
// symbolic links.
type Repository struct {
	Common string // the git directory, with objects, refs and config
	Own    string // the git directory of this worktree; Common unless it is a linked worktree
	// Confirmed means that a file in the git directory names the work directory. Without
	// it, a program that can write in the work directory could have chosen the git
	// directory.
	Confirmed bool
}

// errInvalid is returned for a .git that git does not accept either.
var errInvalid = errors.New("refers to no git directory")

// Find returns the repository of a work directory, which is absolute and without symbolic
// links. The zero value means that there is none.
func Find(dir string) (Repository, error) {
	entry := filepath.Join(dir, ".git")
	info, err := os.Lstat(entry)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.EACCES):
		if isGitDir(dir) { // a bare repository
			return Repository{Common: dir, Own: dir, Confirmed: true}, nil
		}
		return Repository{}, nil
	case err != nil:
		return Repository{}, err
	}
	target := entry
	if info.Mode().IsRegular() {
		text, found := strings.CutPrefix(readLine(entry), "gitdir: ")
		if !found {
			return Repository{}, errInvalid
		}
		target = absolute(dir, text)
	}
	own, err := filepath.EvalSymlinks(target)
	if err != nil {
		return Repository{}, errInvalid
	}
	if info.IsDir() && !isGitDir(own) {
		return Repository{}, nil // as git does, ignore an empty .git directory
	}
	r := Repository{Common: own, Own: own}
	// A linked worktree. Its place decides which directory is the common one, not its file
	// commondir, which whoever created the worktree can have changed.
	if worktrees := filepath.Dir(own); filepath.Base(worktrees) == "worktrees" && exists(filepath.Join(own, "commondir")) {
		r.Common = filepath.Dir(worktrees)
		common, err := filepath.EvalSymlinks(absolute(own, readLine(filepath.Join(own, "commondir"))))
		if err != nil || common != r.Common {
			return Repository{}, errInvalid
		}
		r.Confirmed = names(own, readLine(filepath.Join(own, "gitdir")), entry)
	} else { // outside of dir, a submodule
		r.Confirmed = names(own, coreWorktree(filepath.Join(own, "config")), dir)
	}
	if !isGitDir(r.Common) {
		return Repository{}, errInvalid
	}
	r.Confirmed = r.Confirmed && isOnlyGit(r.Common) || within(r.Common, dir) || r.Common == dir
	return r, nil
}

// isGitDir reports whether git would accept a directory as a git directory.
func isGitDir(dir string) bool {
	return exists(filepath.Join(dir, "HEAD")) && exists(filepath.Join(dir, "objects")) && exists(filepath.Join(dir, "refs"))
}

// names reports whether a path in a file of the git directory dir is path. The last component
// may be a symbolic link.
func names(dir, text, path string) bool {
	if text == "" {
		return false
	}
	text = absolute(dir, text)
	parent, err := filepath.EvalSymlinks(filepath.Dir(text))
	return err == nil && filepath.Join(parent, filepath.Base(text)) == path
}

// maxLines is how many alternates are read.
const maxLines = 16

// Alternates returns the directories with objects that a repository uses from others, as far
// as they belong to git directories.
func Alternates(common string) []string {
	objects := filepath.Join(common, "objects")
	var dirs []string
	for i, line := range strings.SplitN(readFile(filepath.Join(objects, "info/alternates")), "\n", maxLines+1) {
		if i == maxLines || line == "" || line[0] == '#' {
			continue
		}
		if path, err := filepath.EvalSymlinks(absolute(objects, line)); err == nil && isGitDir(filepath.Dir(path)) {
			dirs = append(dirs, path)
		}
	}
	return dirs
}

// Linked returns the git directories of the linked worktrees of a repository that are not below
// dir.
func Linked(common, dir string) []string {
	var found []string
	for _, name := range firstNames(filepath.Join(common, "worktrees")) {
		own := filepath.Join(common, "worktrees", name)
		if path := readLine(filepath.Join(own, "gitdir")); path != "" && !within(absolute(own, path), dir) {
			found = append(found, own)
		}
	}
	return found
}

// Modules returns the git directories of the submodules of a repository, including theirs. The
// name of a submodule can contain slashes.
func Modules(common string) []string {
	var found []string
	entries := 0
	var search func(dir string, depth int)
	search = func(dir string, depth int) {
		if depth == maxDepth {
			return
		}
		for _, name := range firstNames(dir) {
			path := filepath.Join(dir, name)
			entries++
			switch {
			// Links may refer to the same directory again and again.
			case len(found) == maxFound || entries > maxEntries:
				return
			case isGitDir(path):
				found = append(found, path)
				search(filepath.Join(path, "modules"), depth+1)
			default:
				search(path, depth+1)
			}
		}
	}
	search(filepath.Join(common, "modules"), 0)
	return found
}

// firstNames returns the names of at most maxFound entries of a directory.
func firstNames(dir string) []string {
	f, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY, 0) // opening a named pipe would block
	if err != nil {
		return nil
	}
	defer f.Close()
	names, _ := f.Readdirnames(maxFound)
	slices.Sort(names)
	return names
}

// Limits of searches, which run at each start. A guest may have created what they find.
const (
	maxDepth   = 4 // of a .git directory
	maxEntries = 50_000
	maxFound   = 200
	maxPath    = 4096 // bytes
)

// Nested returns the git directories below a directory, including those of submodules, which
// have linked worktrees. It does not search deep or very large directories.
func Nested(dir string) []string {
	var found []string
	entries := 0
	filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if entries++; entries > maxEntries || len(found) == maxFound {
			return filepath.SkipAll
		}
		if err != nil || !d.IsDir() {
			return nil // what cannot be read is skipped
		}
		if len(path) > maxPath || !utf8.ValidString(path) {
			return filepath.SkipDir
		}
		if exists(filepath.Join(path, "worktrees")) && isGitDir(path) {
			found = append(found, path)
		}
		switch rel, _ := filepath.Rel(dir, path); {
		case d.Name() == "objects", d.Name() == "refs", d.Name() == "logs", d.Name() == "node_modules":
			return filepath.SkipDir
		case !strings.Contains(rel+"/", ".git/") && strings.Count(rel, "/") >= maxDepth:
			return filepath.SkipDir
		}
		return nil
	})
	return found
}

// maxFile is the maximum size in bytes of what this package reads of a file.
const maxFile = 1 << 20

// readFile returns the text of a file; empty if it is not a regular file or cannot be read.
func readFile(name string) string {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0) // opening a named pipe would block
	if err != nil {
		return ""
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() || info.Size() > maxFile {
		return ""
	}
	text := make([]byte, maxFile)
	n, _ := f.Read(text)
	return string(text[:max(n, 0)])
}

// readLine returns a file without the line breaks at its end, as git reads paths.
func readLine(name string) string { return strings.TrimRight(readFile(name), "\r\n") }

func absolute(dir, path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(dir, path)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func within(path, dir string) bool { return strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/") }
