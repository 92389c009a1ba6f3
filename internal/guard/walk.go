// Package guard finds the files in a directory that programs of the host execute or obey, and
// reports which of them a guest has changed.
package guard

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Entry is a file that a rule selects.
type Entry struct {
	// Unit is the directory that makes it what it is, such as a git directory or .vscode; else
	// the path of the file.
	Unit string
	// State is a digest of the file's type, executable bit and content, or of a link's target.
	State    string
	What     string // what obeys it
	Severity Severity
}

// Snapshot is what the rules select in some directories, by absolute path.
type Snapshot struct {
	Entries map[string]Entry
	// Unread are the directories that could not be searched.
	Unread []string
}

// Limits of a search. A guest may have created what it finds.
const (
	maxDepth   = 200
	maxEntries = 200_000 // that rules select
	// maxContent is the number of bytes of a file that the digest covers. Of a larger one, it also
	// covers the time of the last change, which a guest cannot set.
	maxContent = 4 << 20
)

// errTooMany is why a search fails.
var errTooMany = fmt.Errorf("more than %d files are executed or obeyed by programs", maxEntries)

// Take searches directories, which are absolute. It ignores those that do not exist.
func Take(ctx context.Context, roots []string) (Snapshot, error) {
	w := walker{ctx: ctx, found: Snapshot{Entries: map[string]Entry{}}}
	for _, root := range roots {
		fd, err := unix.Open(root, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
			continue // a file, or removed
		}
		if err != nil {
			w.found.Unread = append(w.found.Unread, root)
			continue
		}
		if w.root, err = os.OpenRoot(root); err == nil {
			err = w.directory(fd, root, 0, place{})
			w.root.Close()
		}
		if err != nil {
			return Snapshot{}, err
		}
	}
	return w.found, nil
}

type walker struct {
	ctx   context.Context
	root  *os.Root // the directory that is searched
	found Snapshot
}

// place is what is known of a directory from the directories above it.
type place struct {
	unit string // not empty: everything below is selected
	rule *rule
	// admin is the git directory, if this is a directory of files of one of its worktrees or
	// the directory of these directories.
	admin     string
	worktrees bool
	info      bool // the directory info of a git directory
	packages  bool // below one of packageDirectories
}

// packageDirectories have what package managers have installed: hundreds of files that rules select. But
// nobody opens an editor in them or builds there, so only those of high severity are of interest.
var packageDirectories = map[string]bool{"node_modules": true, "site-packages": true}

// directory searches a directory and closes it.
func (w *walker) directory(fd int, path string, depth int, in place) error {
	d := os.NewFile(uintptr(fd), path)
	defer d.Close()
	if err := w.ctx.Err(); err != nil {
		return err
	}
	entries, err := d.ReadDir(-1)
	if err != nil || depth > maxDepth {
		w.found.Unread = append(w.found.Unread, path)
		return nil
	}
	git := isGit(entries)
	for _, e := range entries {
		if err := w.entry(fd, path, e, depth, in, git); err != nil {
			return err
		}
	}
	return nil
}

// isGit reports whether git would use a directory with these entries as a git directory, or as the
// common one of a git directory, to which the file commondir of that refers: then HEAD is in one of
// them, and objects and refs are in the other one.
func isGit(entries []fs.DirEntry) bool {
	has := map[string]bool{}
	for _, e := range entries {
		has[e.Name()] = true
	}
	return has["objects"] && has["refs"] || has["HEAD"] && has["commondir"]
}

// entry handles an entry of a directory.
func (w *walker) entry(fd int, parent string, e fs.DirEntry, depth int, in place, git bool) error {
	name := e.Name()
	path := strings.TrimSuffix(parent, "/") + "/" + name
	next, rule, skip := place{}, (*rule)(nil), false
	switch {
	case in.rule != nil: // .vscode/, hooks/
		next, rule = in, in.rule
		if in.rule == inGit.directories["hooks"] && strings.HasSuffix(name, ".sample") {
			return nil // git does not run it
		}
	case in.info && name == "attributes":
		rule, next.unit = inGit.files[name], in.admin
	case in.worktrees && e.IsDir(): // .git/worktrees
		next.admin = in.admin
	case in.admin != "" && !in.info && !in.worktrees && inGit.files[name] != nil: // .git/worktrees/NAME
		rule, next.unit = inGit.files[name], path
	case git:
		next, rule, skip = inGitDirectory(name, parent, e.IsDir())
	}
	switch {
	case skip:
		return nil
	case rule == nil && next == place{}:
		// Also in git directories: a guest can make any directory look like one.
		next, rule = inWorkTree(name, path, e.IsDir())
	}
	if in.packages || e.IsDir() && packageDirectories[name] {
		if next.rule != nil && next.rule.severity < High {
			next = place{}
		}
		if rule != nil && rule.severity < High {
			rule = nil
		}
		next.packages = true
	}
	if e.IsDir() {
		return w.enter(fd, name, path, depth, next)
	}
	if rule == nil {
		return nil
	}
	if err := w.add(fd, name, path, next.unit, rule); err != nil || e.Type()&fs.ModeSymlink == 0 || in.rule != nil {
		return err
	}
	return w.linked(name, path, depth, next, rule)
}

// inWorkTree returns where an entry of a directory leads, and its rule.
func inWorkTree(name, path string, isDirectory bool) (next place, r *rule) {
	directory := inTree.directories[name]
	if isDirectory {
		if directory == nil {
			return place{}, nil
		}
		return place{rule: directory, unit: path}, nil
	}
	if r = inTree.file(name); r == nil {
		r = directory // a link in place of the directory
	}
	return place{unit: path}, r
}

// inGitDirectory returns where an entry of the git directory leads, and its rule. skip means
// that nothing in it is executed or obeyed.
func inGitDirectory(name, git string, isDirectory bool) (next place, r *rule, skip bool) {
	switch {
	case !isDirectory:
		if r = inGit.files[name]; r != nil {
			next.unit = git
		}
		return next, r, false
	case name == "hooks":
		next.rule, next.unit = inGit.directories[name], git
	case name == "info":
		next = place{info: true, admin: git}
	case name == "worktrees":
		next = place{worktrees: true, admin: git}
	case name == "objects", name == "refs", name == "logs", name == "lfs":
		// What has another name may be a directory of the project in which a guest has created the rest.
		skip = strings.HasSuffix(git, ".git") || strings.Contains(git, ".git/modules/")
	}
	return next, nil, skip
}

// enter searches a directory in a directory.
func (w *walker) enter(fd int, name, path string, depth int, in place) error {
	sub, err := unix.Openat(fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	switch err {
	case nil:
		return w.directory(sub, path, depth+1, in)
	case unix.ENOENT, unix.ENOTDIR, unix.ELOOP: // replaced meanwhile
	default:
		w.found.Unread = append(w.found.Unread, path)
	}
	return nil
}

// add adds a file that is not a directory.
func (w *walker) add(fd int, name, path, unit string, r *rule) error {
	if len(w.found.Entries) == maxEntries {
		return errTooMany
	}
	state, err := w.digest(fd, name, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		state = "unreadable"
	}
	w.found.Entries[path] = Entry{Unit: unit, State: state, What: r.what, Severity: r.severity}
	return nil
}

// digest returns the state of a file.
func (w *walker) digest(dir int, name, path string) (string, error) {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ELOOP) {
		target := make([]byte, unix.PathMax)
		n, err := unix.Readlinkat(dir, name, target)
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("link %x%s", sha256.Sum256(target[:n]), w.linkedState(path)), nil
	}
	if err != nil {
		return "", err
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	return stateOf(f)
}

// stateOf returns the state of an open file.
func stateOf(f *os.File) (string, error) {
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return info.Mode().Type().String(), nil
	}
	hash := sha256.New()
	if _, err := io.Copy(hash, io.LimitReader(f, maxContent)); err != nil {
		return "", err
	}
	text := fmt.Sprintf("file %d %v %x", info.Size(), info.Mode()&0o111 != 0, hash.Sum(nil))
	if st, ok := info.Sys().(*syscall.Stat_t); ok && info.Size() > maxContent {
		text += fmt.Sprintf(" %d.%09d", st.Ctim.Sec, st.Ctim.Nsec)
	}
	return text, nil
}
