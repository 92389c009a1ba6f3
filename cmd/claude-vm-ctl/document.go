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
	file     string // path to save to
	original []byte // text before editing; a system file or a template if file is new
	dir      string // work directory; empty for defaults.conf
}

// openDocument reads file. If it is empty, the document is a new file with this name in config
// and the text of template. A file of the system is saved as a copy in config.
func openDocument(config, file, name, dir, template string) (*document, error) {
	d := &document{file: filepath.Join(config, name), original: []byte(template), dir: dir}
	if file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, failure.Plain(err)
		}
		d.file, d.original = file, text
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
			hint = "change programs.claude-vm in the Home Manager configuration, then run home-manager switch"
		}
		return nil, failure.New(failure.Failed, hint, "%s is a link to %s, which is read-only", d.file, target)
	}
	return d, nil
}

// target returns the file to replace: d.file or the file that it is a link to.
func (d *document) target() string {
	if path, err := filepath.EvalSymlinks(d.file); err == nil {
		return path
	}
	return d.file
}

// createTemporary creates a file with the original text and returns its path. It is in the
// directory of the target, so that it can replace the target. It is not read as a .vm file
// because its name starts with a dot.
func (d *document) createTemporary() (string, error) {
	target := d.target()
	f, err := os.CreateTemp(filepath.Dir(target), ".#"+filepath.Base(target)+"*")
	if err != nil {
		return "", failure.Plain(err)
	}
	_, err = f.Write(d.original)
	if err = errors.Join(err, f.Close()); err != nil {
		os.Remove(f.Name())
		return "", failure.Plain(err)
	}
	return f.Name(), nil
}

// check returns the errors that the text would cause: all errors in this file, and new errors
// in other files.
func (d *document) check(text []byte, paths instance.Paths) []*failure.Error {
	dirs := vmfile.SearchPath(paths)
	before := map[string]bool{}
	for _, e := range allErrors(vmfile.Load(dirs, paths), paths) {
		before[e.Error()] = true
	}
	var found []*failure.Error
	for _, e := range allErrors(vmfile.LoadWith(dirs, paths, d.file, text), paths) {
		if e.File == d.file || !before[e.Error()] {
			found = append(found, e)
		}
	}
	return found
}

func allErrors(set vmfile.Set, paths instance.Paths) []*failure.Error {
	_, errs := dropin.Build(set, paths)
	return append(set.Errors, errs...)
}

var errChanged = errors.New("the file has changed")

// save replaces the target atomically by a temporary file.
func (d *document) save(temporary string) error {
	target, mode := d.target(), os.FileMode(0o644)
	if info, err := os.Stat(target); err == nil {
		mode = info.Mode().Perm()
	}
	now, err := os.ReadFile(target)
	if err == nil && !bytes.Equal(now, d.original) {
		return errChanged
	}
	f, err := os.Open(temporary)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(temporary, target)
}
