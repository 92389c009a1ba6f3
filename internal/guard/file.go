package guard

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// version is that of the file's format. A file of another version is ignored.
const version = 1

// file is what is kept of an instance.
type file struct {
	Version int
	Roots   []string
	// Before is what was there at the start, while the VM runs; also after a crash of the
	// machine.
	Before *Snapshot
	// Findings are those of earlier runs that the user has not accepted.
	Findings []Finding
}

// Guard is what is known of one instance. Its file is private: no guest can change it.
type Guard struct{ path string }

// Open returns the guard of an instance, which has its file at a path.
func Open(path string) *Guard { return &Guard{path} }

// Start records what is in directories at the start of a VM.
func (g *Guard) Start(ctx context.Context, roots []string) error {
	f, err := g.read()
	if err != nil {
		return err
	}
	now, err := Take(ctx, roots)
	if err != nil {
		return err
	}
	if f.Before != nil && slices.Equal(f.Roots, roots) { // the end of the last run was not seen
		f.Findings = merge(f.Findings, compare(*f.Before, now), now)
	}
	return g.write(file{Roots: roots, Before: &now, Findings: remaining(f.Findings, now)})
}

// End compares what is there at the end of a VM, and returns what is new in this run.
func (g *Guard) End(ctx context.Context) ([]Finding, error) {
	f, err := g.read()
	if err != nil || f.Before == nil {
		return nil, err
	}
	now, err := Take(ctx, f.Roots)
	if err != nil {
		return nil, err
	}
	found := compare(*f.Before, now)
	f.Findings = merge(f.Findings, found, now)
	f.Before = nil
	return found, g.write(f)
}

// Findings returns what the user has not accepted, including changes by a VM that still runs.
func (g *Guard) Findings(ctx context.Context) ([]Finding, error) {
	f, err := g.read()
	if err != nil || f.Before == nil && len(f.Findings) == 0 {
		return nil, err
	}
	now, err := Take(ctx, f.Roots)
	if err != nil {
		return nil, err
	}
	if f.Before != nil {
		return merge(f.Findings, compare(*f.Before, now), now), nil
	}
	return remaining(f.Findings, now), nil
}

// Known returns what was found at the end of earlier runs, without a search.
func (g *Guard) Known() ([]Finding, error) {
	f, err := g.read()
	return f.Findings, err
}

// Accept drops findings for paths, or all if there are none, also of a VM that still runs.
func (g *Guard) Accept(ctx context.Context, paths []string) ([]Finding, error) {
	f, err := g.read()
	if err != nil {
		return nil, err
	}
	all, err := g.Findings(ctx)
	if err != nil {
		return nil, err
	}
	accepted := slices.DeleteFunc(all, func(found Finding) bool { return len(paths) > 0 && !slices.Contains(paths, found.Path) })
	set := map[string]bool{}
	for _, a := range accepted {
		set[a.Path] = true
	}
	isAccepted := func(path string) bool { return set[path] }
	f.Findings = slices.DeleteFunc(f.Findings, func(found Finding) bool { return isAccepted(found.Path) })
	if f.Before != nil {
		if err := f.acceptNow(ctx, isAccepted); err != nil {
			return nil, err
		}
	}
	return accepted, g.write(f)
}

// acceptNow makes what is accepted part of what was there at the start.
func (f *file) acceptNow(ctx context.Context, isAccepted func(path string) bool) error {
	now, err := Take(ctx, f.Roots)
	if err != nil {
		return err
	}
	for path, e := range f.Before.Entries {
		if _, exists := now.Entries[path]; !exists && (isAccepted(path) || isAccepted(e.Unit)) {
			delete(f.Before.Entries, path)
		}
	}
	for path, e := range now.Entries {
		if isAccepted(path) || isAccepted(e.Unit) {
			f.Before.Entries[path] = e
		}
	}
	for _, path := range now.Unread {
		if isAccepted(path) {
			f.Before.Unread = append(f.Before.Unread, path)
		}
	}
	return nil
}

// Remove forgets everything.
func (g *Guard) Remove() error {
	if err := os.Remove(g.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	os.Remove(filepath.Dir(g.path)) // fails unless it is empty
	return nil
}

func (g *Guard) read() (file, error) {
	in, err := os.OpenFile(g.path, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return file{}, nil
	}
	if err != nil {
		return file{}, err
	}
	defer in.Close()
	var f file
	if err := gob.NewDecoder(in).Decode(&f); err != nil {
		return file{}, fmt.Errorf("%s: %w", g.path, err)
	}
	if f.Version != version {
		return file{}, nil
	}
	return f, nil
}

// write writes the file, or removes it if it would have nothing.
func (g *Guard) write(f file) error {
	if f.Before == nil && len(f.Findings) == 0 {
		return g.Remove()
	}
	f.Version = version
	if err := os.MkdirAll(filepath.Dir(g.path), 0o700); err != nil {
		return err
	}
	temporary := g.path + ".new"
	out, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	err = gob.NewEncoder(out).Encode(f)
	if err := errors.Join(err, out.Close()); err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	return os.Rename(temporary, g.path)
}
