package guard

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
)

// Change is how a file differs.
type Change string

// The changes.
const (
	New     Change = "new"
	Changed Change = "changed"
	Gone    Change = "gone"
	Unread  Change = "unread" // it cannot be searched now
)

// Finding is a file, or a new directory, that was changed.
type Finding struct {
	Path     string
	Change   Change
	What     string
	Severity Severity
	// Before and After are states; empty if there was, or is, no such file.
	Before, After string
}

// compare returns what has changed between two snapshots, sorted by severity and path. A
// directory that is new as a whole, such as a git directory, is one finding.
func compare(before, after Snapshot) []Finding {
	known := map[string]bool{} // units
	for _, e := range before.Entries {
		known[e.Unit] = true
	}
	found := map[string]Finding{}
	state := after.states()
	for path, e := range after.Entries {
		old, existed := before.Entries[path]
		switch {
		case existed && old.State == e.State:
		case existed:
			found[path] = Finding{path, Changed, e.What, e.Severity, old.State, e.State}
		case e.State == worktreeCommon && filepath.Base(filepath.Dir(filepath.Dir(path))) == "worktrees":
		case known[e.Unit] || e.Unit == path:
			found[path] = Finding{path, New, e.What, e.Severity, "", e.State}
		default:
			f := found[e.Unit]
			if f.Path == "" || e.Severity > f.Severity || e.Severity == f.Severity && e.What < f.What {
				f.What, f.Severity = e.What, e.Severity
			}
			if f.Path == "" {
				f.Path, f.Change, f.After = e.Unit, New, state(e.Unit)
			}
			found[e.Unit] = f
		}
	}
	for path, e := range before.Entries {
		if _, exists := after.Entries[path]; !exists {
			found[path] = Finding{path, Gone, e.What, e.Severity, e.State, ""}
		}
	}
	for _, path := range after.Unread {
		if !slices.Contains(before.Unread, path) {
			found[path] = Finding{path, Unread, "it cannot be searched", High, "", ""}
		}
	}
	return sorted(found)
}

// worktreeCommon is the state of the file commondir that git creates for a linked worktree.
var worktreeCommon = func() string {
	const text = "../..\n"
	return fmt.Sprintf("file %d false %x", len(text), sha256.Sum256([]byte(text)))
}()

// states returns a function that returns the state of a file, or of all files of a unit; empty if
// there is none.
func (s Snapshot) states() func(path string) string {
	files := map[string][]string{} // of each unit
	for path, e := range s.Entries {
		if e.Unit != path {
			files[e.Unit] = append(files[e.Unit], path)
		}
	}
	return func(path string) string {
		if e, found := s.Entries[path]; found {
			return e.State
		}
		if files[path] == nil {
			return ""
		}
		slices.Sort(files[path])
		hash := sha256.New()
		for _, name := range files[path] {
			fmt.Fprintf(hash, "%q %s\n", name, s.Entries[name].State)
		}
		return fmt.Sprintf("unit %x", hash.Sum(nil))
	}
}

func sorted(found map[string]Finding) []Finding {
	return slices.SortedFunc(maps.Values(found), func(a, b Finding) int {
		return cmp.Or(cmp.Compare(b.Severity, a.Severity), cmp.Compare(a.Path, b.Path))
	})
}

// remaining returns the findings that still describe what is there: neither undone nor changed
// since, for example by the user.
func remaining(findings []Finding, now Snapshot) []Finding {
	state := now.states()
	return slices.DeleteFunc(slices.Clone(findings), func(f Finding) bool {
		if f.Change == Unread {
			return !slices.Contains(now.Unread, f.Path)
		}
		return state(f.Path) != f.After
	})
}

// merge adds the findings of a run, at whose end there is now, to those of earlier runs.
func merge(old, newer []Finding, now Snapshot) []Finding {
	all, directories := map[string]Finding{}, map[string]bool{}
	for _, f := range old {
		all[f.Path] = f
		directories[f.Path] = f.Change == New
	}
	for _, f := range newer {
		if earlier, found := all[f.Path]; found {
			f.Before = earlier.Before
			if f.Change == Changed && f.Before == "" {
				f.Change = New
			}
			if f.Change == New && f.Before != "" {
				f.Change = Changed
			}
		} else if isBelow(f.Path, directories) {
			continue
		}
		all[f.Path] = f
	}
	state := now.states()
	for path, f := range all {
		if f.Change != Unread {
			f.After = state(path)
			all[path] = f
		}
		if f.Change != Unread && f.Before == f.After { // as it was before the first of these runs
			delete(all, path)
		}
	}
	return sorted(all)
}

// isBelow reports whether a path is in one of the directories.
func isBelow(path string, directories map[string]bool) bool {
	for dir := filepath.Dir(path); dir != "/" && dir != "."; dir = filepath.Dir(dir) {
		if directories[dir] {
			return true
		}
	}
	return false
}
