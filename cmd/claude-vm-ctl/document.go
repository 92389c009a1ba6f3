package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/t0mpr1c3/claude-microvm/internal/dropin"
	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/preflight"
	"github.com/t0mpr1c3/claude-microvm/internal/vmfile"
	"golang.org/x/sys/unix"
)

// document is a file that is being edited.
type document struct {
	file string // where it is saved
	text []byte // as it is now; of another directory's, or a template, if new
	dir  string // the work directory; empty for defaults.conf
}

// openDocument reads file, or makes one of this name and text if there is none.
func openDocument(config, file, name, dir, template string) (*document, error) {
	d := &document{file: filepath.Join(config, name), text: []byte(template), dir: dir}
	if file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, failure.Plain(err)
		}
		d.file, d.text = file, text
		if strings.HasPrefix(file, "/etc/") || strings.HasPrefix(file, "/usr/") {
			d.file = filepath.Join(config, filepath.Base(file))
		}
	}
	switch target, err := filepath.EvalSymlinks(d.file); {
	case err == nil && target == os.DevNull:
		return nil, failure.New(failure.Failed, "rm "+failure.Command(d.file), "%s is masked", d.file)
	case err == nil && unix.Access(filepath.Dir(target), unix.W_OK) != nil:
		hint := ""
		if preflight.InStore(target) {
			hint = "change programs.claude-vm where Home Manager has it, then: home-manager switch"
		}
		return nil, failure.New(failure.Failed, hint, "%s leads to %s, which cannot be written", d.file, target)
	}
	return d, nil
}

// draft is where the text lies until it is saved. Names with a dot are no .vm files.
func (d *document) draft() string {
	return filepath.Join(filepath.Dir(d.file), "."+filepath.Base(d.file)+".draft")
}

// base is the file's text when the draft was begun.
func (d *document) base() string { return strings.TrimSuffix(d.draft(), ".draft") + ".base" }

// begin makes the draft, or takes up one that was kept, with what it was begun from.
func (d *document) begin(out *output) error {
	if _, err := os.Stat(d.draft()); err == nil {
		out.note("taking up the draft that was kept")
		if base, err := os.ReadFile(d.base()); err == nil {
			d.text = base
		}
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(d.file), 0o755); err != nil {
		return failure.Plain(err)
	}
	for _, path := range []string{d.base(), d.draft()} {
		if err := os.WriteFile(path, d.text, 0o600); err != nil {
			d.end() // a part is no draft to take up
			return failure.Plain(err)
		}
	}
	return nil
}

// end removes the draft.
func (d *document) end() error { return errors.Join(os.Remove(d.draft()), os.RemoveAll(d.base())) }

// check gives the faults that saving would bring: all of this file, and those of
// others that it makes.
func (d *document) check(text []byte, paths instance.Paths) []*failure.Error {
	dirs := vmfile.SearchPath(paths)
	before := map[string]bool{}
	for _, e := range faults(vmfile.Load(dirs, paths), paths) {
		before[e.Error()] = true
	}
	var found []*failure.Error
	for _, e := range faults(vmfile.LoadWith(dirs, paths, d.file, text), paths) {
		if e.File == d.file || !before[e.Error()] {
			found = append(found, e)
		}
	}
	return found
}

func faults(set vmfile.Set, paths instance.Paths) []*failure.Error {
	_, errs := dropin.Build(set, paths)
	return append(set.Errors, errs...)
}

var errChanged = errors.New("it has changed since")

// save replaces the file, or what it is a link to, as a whole, and the draft goes.
func (d *document) save(text []byte) error {
	mode := os.FileMode(0o644)
	target := d.file
	if path, err := filepath.EvalSymlinks(target); err == nil {
		target = path
		now, err := os.ReadFile(target)
		if err == nil && !bytes.Equal(now, d.text) {
			return errChanged
		}
		if info, err := os.Stat(target); err == nil {
			mode = info.Mode().Perm()
		}
	}
	f, err := os.CreateTemp(filepath.Dir(target), ".claude-vm-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // unless it has the file's name by then
	_, err = f.Write(text)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), target)
	}
	if err == nil {
		err = d.end()
	}
	return err
}
