package gitdir

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"
)

// gitEntry matches the names of what is in a git directory.
var gitEntry = regexp.MustCompile(`^(?:[A-Z_]*HEAD|[A-Z]+_(?:EDIT)?MSG|[A-Z]+_(?:LOG|MODE|RR|START|TERMS|NAMES|MERGE)|branches|config(?:\.worktree)?|commondir|description|` +
	`filter-repo|fsmonitor--daemon.*|gc\.(?:log|pid)|gitdir|hooks|index|info|lfs|logs|lost-found|modules|objects|packed-refs|` +
	`rebase-(?:apply|merge)|refs|reftable|rr-cache|sequencer|shallow|svn|worktrees)$`)

// isOnlyGit reports whether a directory that git accepts as a git directory is nothing else, to judge by its
// name or by what is in it, which can also be worktrees. The guest of another VM can make what git looks for in
// any directory that it can write, also in that of a project, of which it does not see all.
func isOnlyGit(dir string) bool {
	if strings.HasSuffix(dir, ".git") {
		return true
	}
	f, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	for _, name := range names {
		if info, err := os.Lstat(filepath.Join(dir, name, ".git")); gitEntry.MatchString(name) || err == nil && info.Mode().IsRegular() {
			continue
		}
		return false
	}
	return err == nil
}
