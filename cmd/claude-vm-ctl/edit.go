package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/alecthomas/kingpin/v2"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/manager"
	"github.com/t0mpr1c3/claude-microvm/internal/unitfile"
	"github.com/t0mpr1c3/claude-microvm/internal/unittree"
	"github.com/t0mpr1c3/claude-microvm/internal/vmfile"
	"golang.org/x/sys/unix"
)

type editVerb struct {
	what     string
	defaults bool
}

func (e *editVerb) register(app *kingpin.Application) string {
	cmd := app.Command("edit", "Edit the .vm file of a directory; it is checked before it is saved.")
	cmd.Arg("dir", "The project's directory, its id, or the name of a .vm file.").Default(".").StringVar(&e.what)
	cmd.Flag("defaults", "Edit defaults.conf, which is for all VMs.").BoolVar(&e.defaults)
	return cmd.FullCommand()
}

func (e *editVerb) run(ctx context.Context, out *output) (int, error) {
	s, err := vmfile.Environment()
	if err != nil {
		return 0, err
	}
	d, err := e.document(s)
	if err != nil {
		return 0, err
	}
	unlock, err := d.lock()
	if err != nil {
		return 0, err
	}
	defer unlock()
	text, err := d.edit(out)
	if err != nil || text == nil {
		return 0, err
	}
	if faults := d.check(text, s); len(faults) > 0 {
		out.faults(faults)
		return 0, fail(exitFailure, e.again()+", or to give it up: rm "+shellQuote(d.draft()), "%s is not saved; the draft is kept", d.file)
	}
	if err := d.save(text); err != nil {
		return 0, fail(exitFailure, e.again(), "%s is not saved; the draft is kept: %w", d.file, plain(err))
	}
	out.note("saved %s", d.file)
	return 0, d.apply(context.WithoutCancel(ctx), out, s)
}

// again is the command that goes on with a draft.
func (e *editVerb) again() string {
	switch {
	case e.defaults:
		return "claude-vm-ctl edit --defaults"
	case e.what == ".":
		return "claude-vm-ctl edit"
	}
	return "claude-vm-ctl edit " + shellQuote(e.what)
}

// document is a file that is being edited.
type document struct {
	file string // where it is saved
	text []byte // as it is now; of another directory's, or a template, if new
	dir  string // the work directory; empty for defaults.conf
}

// document finds out what to edit. What belongs to the system is copied.
func (e *editVerb) document(s vmfile.Specifiers) (*document, error) {
	dirs := vmfile.SearchPath(s)
	config := filepath.Join(s['E'], "claude-vm")
	if e.defaults {
		return openDocument(config, vmfile.Find(dirs, vmfile.DefaultsFile), vmfile.DefaultsFile, "", vmfile.Template("", s))
	}
	_, dir, err := find(s.Instances(), e.what)
	if err != nil {
		file := vmfile.Find(dirs, e.what+vmfile.Suffix)
		if file == "" || strings.Contains(e.what, "/") {
			return nil, err
		}
		return openDocument(config, file, "", "", "")
	}
	for _, v := range vmfile.Load(dirs, s).VMs {
		if v.WorkDirectory == dir {
			return openDocument(config, v.Source[0], "", dir, "")
		}
	}
	return newDocument(config, dir, s)
}

// newDocument is one for a directory that has none, named after it.
func newDocument(config, dir string, s vmfile.Specifiers) (*document, error) {
	dirs := vmfile.SearchPath(s)
	base := strings.TrimLeft(oneLine(filepath.Base(dir)), ".")
	base = strings.ToValidUTF8(base[:min(len(base), 100)], "")
	name := base
	for n := 2; name == "" || vmfile.Find(dirs, name+vmfile.Suffix) != ""; n++ {
		name = fmt.Sprintf("%s-%d", base, n)
	}
	d, err := openDocument(config, "", name+vmfile.Suffix, dir, vmfile.Template(dir, s))
	if err != nil {
		return nil, err
	}
	for _, v := range vmfile.LoadWith([]string{config}, s, d.file, d.text).VMs {
		if v.WorkDirectory == dir {
			return d, nil
		}
	}
	return nil, fail(exitUsage, "rename it", "no .vm file can name %s, which ends in a blank or a backslash or is no text", dir)
}

// openDocument reads file, or makes one of this name and text if there is none.
func openDocument(config, file, name, dir, template string) (*document, error) {
	d := &document{file: filepath.Join(config, name), text: []byte(template), dir: dir}
	if file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, plain(err)
		}
		d.file, d.text = file, text
		if strings.HasPrefix(file, "/etc/") || strings.HasPrefix(file, "/usr/") {
			d.file = filepath.Join(config, filepath.Base(file))
		}
	}
	switch target, err := filepath.EvalSymlinks(d.file); {
	case err == nil && target == os.DevNull:
		return nil, fail(exitFailure, "rm "+shellQuote(d.file), "%s is masked", d.file)
	case err == nil && unix.Access(filepath.Dir(target), unix.W_OK) != nil:
		return nil, fail(exitFailure, "change it where it is made", "%s leads to %s, which cannot be written", d.file, target)
	}
	return d, nil
}

// draft is where the text lies until it is saved. Names with a dot are no .vm files.
func (d *document) draft() string {
	return filepath.Join(filepath.Dir(d.file), "."+filepath.Base(d.file)+".draft")
}

// lock keeps others from editing in the same directory.
func (d *document) lock() (unlock func(), err error) {
	dir := filepath.Dir(d.file)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, plain(err)
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, plain(err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fail(exitFailure, "leave its editor", "another claude-vm-ctl edit is at work in %s", dir)
	}
	return func() { f.Close() }, nil
}

// edit lets the person edit the draft and gives its text; nil if nothing came of
// it. A draft that was kept is taken up.
func (d *document) edit(out *output) ([]byte, error) {
	if _, err := os.Stat(d.draft()); err == nil {
		out.note("taking up the draft that was kept")
	} else if err := os.WriteFile(d.draft(), d.text, 0o600); err != nil {
		os.Remove(d.draft()) // a part is no draft to take up
		return nil, plain(err)
	}
	editorErr := runEditor(out, d.draft())
	text, err := os.ReadFile(d.draft())
	switch {
	case err != nil:
		return nil, plain(err)
	case bytes.Equal(text, d.text):
		os.Remove(d.draft())
		if editorErr == nil {
			out.note("nothing has changed")
		}
		return nil, editorErr
	case editorErr != nil:
		return nil, fail(exitFailure, "rm "+shellQuote(d.draft()), "%w: nothing is saved; the draft is kept", editorErr)
	}
	return text, nil
}

// runEditor runs the editor that systemctl edit would.
func runEditor(out *output, path string) error {
	var candidates [][]string
	for _, name := range []string{"SYSTEMD_EDITOR", "EDITOR", "VISUAL"} {
		if words := strings.Fields(os.Getenv(name)); len(words) > 0 {
			candidates = append(candidates, words)
			break
		}
	}
	if len(candidates) == 0 {
		candidates = [][]string{{"editor"}, {"nano"}, {"vim"}, {"vi"}}
	}
	for _, words := range candidates {
		program, err := exec.LookPath(words[0])
		if err != nil {
			continue
		}
		// Its terminal's signals are the editor's business.
		cmd := exec.Command(program, append(words[1:], path)...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = out.stdin, out.stdout, out.stderr
		if err := cmd.Run(); err != nil {
			return fail(exitFailure, "", "%s: %w", words[0], err)
		}
		return nil
	}
	return fail(exitFailure, "EDITOR=… claude-vm-ctl edit", "no editor %s", candidates[0][0])
}

// check gives the faults that saving would bring: all of this file, and those of
// others that it makes.
func (d *document) check(text []byte, s vmfile.Specifiers) []*unitfile.Error {
	dirs := vmfile.SearchPath(s)
	before := map[string]bool{}
	for _, e := range faults(vmfile.Load(dirs, s), s) {
		before[e.Error()] = true
	}
	var found []*unitfile.Error
	for _, e := range faults(vmfile.LoadWith(dirs, s, d.file, text), s) {
		if e.File == d.file || !before[e.Error()] {
			found = append(found, e)
		}
	}
	return found
}

func faults(set vmfile.Set, s vmfile.Specifiers) []*unitfile.Error {
	_, errs := unittree.Build(set, s.Instances())
	return append(set.Errors, errs...)
}

// save replaces the file, or what it is a link to, as a whole, and the draft goes.
func (d *document) save(text []byte) error {
	now, err := os.ReadFile(d.file)
	if err == nil && !bytes.Equal(now, d.text) {
		return errors.New("somebody else has changed it meanwhile")
	}
	target := d.file
	if path, err := filepath.EvalSymlinks(target); err == nil {
		target = path
	}
	f, err := os.CreateTemp(filepath.Dir(target), ".claude-vm-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // unless it has the file's name by then
	_, err = f.Write(text)
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), target)
	}
	if err == nil {
		err = os.Remove(d.draft())
	}
	return err
}

// apply makes the user manager know the file that was saved.
func (d *document) apply(ctx context.Context, out *output, s vmfile.Specifiers) error {
	m, err := manager.Dial(ctx)
	if err != nil {
		return noManager(fmt.Errorf("saved, but not read: %w", err))
	}
	defer m.Close()
	tree, _ := build(s) // faults of other files are not this one's
	if err := install(ctx, m, tree); err != nil {
		return err
	}
	if d.dir == "" {
		return nil
	}
	id, _, err := s.Instances().PathID(d.dir)
	if err != nil {
		return err
	}
	if u, err := m.Unit(ctx, instance.Unit(id)); err == nil && u.Running() {
		out.note("the VM that runs gets it by: claude-vm-ctl restart%s", (&vm{dir: d.dir}).here())
	}
	return nil
}
