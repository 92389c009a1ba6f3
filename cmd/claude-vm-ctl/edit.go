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
	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/manager"
	"github.com/t0mpr1c3/claude-microvm/internal/preflight"
	"github.com/t0mpr1c3/claude-microvm/internal/vmfile"
	"golang.org/x/sys/unix"
)

type editVerb struct {
	what     string
	defaults bool
}

func (e *editVerb) register(app *kingpin.Application) string {
	cmd := app.Command("edit", "Edit the .vm file of a directory; it is checked before it is saved.")
	describe(cmd, "", "edit ~/src/web", "edit --defaults")
	directoryArg(cmd, &e.what)
	cmd.Flag("defaults", "Edit defaults.conf, which applies to all VMs.").BoolVar(&e.defaults)
	return cmd.FullCommand()
}

func (e *editVerb) run(ctx context.Context, out *output) (int, error) {
	if e.defaults && e.what != "." {
		return 0, usage(errors.New("--defaults takes no directory"))
	}
	paths, err := instance.HostPaths()
	if err != nil {
		return 0, err
	}
	unlock, err := lockEdit(paths.ConfigFiles())
	if err != nil {
		return 0, err
	}
	defer unlock()
	d, err := e.document(paths)
	if err != nil {
		return 0, err
	}
	saved, err := e.edit(ctx, out, d, paths)
	if err != nil || !saved {
		return 0, err
	}
	out.note("saved %s", d.file)
	return 0, d.apply(context.WithoutCancel(ctx), out, paths)
}

// edit runs the editor on a temporary file until its text is valid or the user gives up, and
// saves it. It reports whether the file was changed.
func (e *editVerb) edit(ctx context.Context, out *output, d *document, paths instance.Paths) (bool, error) {
	temporary, err := d.createTemporary()
	if err != nil {
		return false, err
	}
	for {
		text, err := d.runEditor(out, temporary, e.command())
		if err != nil || text == nil {
			return false, err
		}
		errs := d.check(text, paths)
		if len(errs) == 0 {
			break
		}
		out.fileErrors(errs)
		if !out.confirm(ctx, "edit again?") {
			return false, failure.New(failure.Failed, e.command(), "%s is not saved; your changes are in %s", d.file, temporary)
		}
	}
	switch err := d.save(temporary); {
	case errors.Is(err, errChanged):
		return false, failure.New(failure.Failed, "diff "+failure.Command(d.file)+" "+failure.Command(temporary),
			"%s is not saved, because it has changed in the meantime; your changes are in %s", d.file, temporary)
	case err != nil:
		return false, failure.New(failure.Failed, e.command(), "%s is not saved; your changes are in %s: %w", d.file, temporary, failure.Plain(err))
	}
	return true, nil
}

// command returns the user's command, for hints.
func (e *editVerb) command() string {
	switch {
	case e.defaults:
		return "claude-vm-ctl edit --defaults"
	case e.what == ".":
		return "claude-vm-ctl edit"
	}
	return "claude-vm-ctl edit " + failure.Command(e.what)
}

// document returns the document to edit.
func (e *editVerb) document(paths instance.Paths) (*document, error) {
	dirs := vmfile.SearchPath(paths)
	config := paths.ConfigFiles()
	if e.defaults {
		return openDocument(config, vmfile.Find(dirs, vmfile.DefaultsFile), vmfile.DefaultsFile, "", vmfile.Template("", paths))
	}
	if file := findFile(dirs, e.what); file != "" && !isDirectory(e.what) {
		return openDocument(config, file, "", "", "")
	}
	_, dir, err := find(paths, e.what)
	if err != nil {
		return nil, err
	}
	for _, v := range vmfile.Load(dirs, paths).VMs {
		if v.WorkDirectory == dir {
			return openDocument(config, v.Source[0], "", dir, "")
		}
	}
	return newDocument(config, dir, paths)
}

// newDocument returns the document for a directory without a valid .vm file. It has the name of
// the directory.
func newDocument(config, dir string, paths instance.Paths) (*document, error) {
	dirs := vmfile.SearchPath(paths)
	base := strings.TrimLeft(failure.OneLine(filepath.Base(dir)), ".")
	base = strings.ToValidUTF8(base[:min(len(base), 100)], "")
	name := base
	invalid := map[string]bool{} // one of these files may be for this directory
	for _, e := range vmfile.Load(dirs, paths).Errors {
		invalid[e.File] = true
	}
	for n := 2; ; n++ {
		file := vmfile.Find(dirs, name+vmfile.Suffix)
		if invalid[file] {
			return openDocument(config, file, "", dir, "")
		}
		if name != "" && file == "" {
			break
		}
		name = fmt.Sprintf("%s-%d", base, n)
	}
	d, err := openDocument(config, "", name+vmfile.Suffix, dir, vmfile.Template(dir, paths))
	if err != nil {
		return nil, err
	}
	for _, v := range vmfile.LoadWith([]string{config}, paths, d.file, d.original).VMs {
		if v.WorkDirectory == dir {
			return d, nil
		}
	}
	return nil, failure.New(failure.Usage, renameCommand(dir), "a .vm file cannot contain the path %s: it ends with a space or a backslash, or is not UTF-8", dir)
}

// renameCommand returns the hint for a directory whose path a .vm file cannot contain.
func renameCommand(dir string) string {
	name := strings.TrimRight(strings.ToValidUTF8(filepath.Base(dir), "_"), `\ `)
	return "mv " + failure.Command(dir) + " " + failure.Command(filepath.Join(filepath.Dir(dir), name))
}

// lockEdit prevents concurrent edits of the files of a user.
func lockEdit(dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, failure.Plain(err)
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, failure.Plain(err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, failure.New(failure.Failed, "pgrep -af 'claude-vm-ctl edit'", "another claude-vm-ctl edit is running in %s", dir)
	}
	return func() { f.Close() }, nil
}

// runEditor runs the editor on a temporary file and returns the new text, or nil if it is
// unchanged. It removes the file unless it contains changes. command is the user's, for a hint.
func (d *document) runEditor(out *output, temporary, command string) ([]byte, error) {
	editorErr := startEditor(out, temporary, command)
	text, err := os.ReadFile(temporary)
	switch {
	case err != nil:
		return nil, failure.Plain(err)
	case len(bytes.TrimSpace(text)) == 0: // an empty .vm file would be a mask
		os.Remove(temporary)
		return nil, failure.New(failure.Failed, "", "the file is empty: nothing is saved")
	case bytes.Equal(text, d.original):
		os.Remove(temporary)
		if editorErr == nil {
			out.note("no changes")
		}
		return nil, editorErr
	case editorErr != nil:
		return nil, failure.New(failure.Failed, command, "%w: nothing is saved; your changes are in %s", editorErr, temporary)
	}
	return text, nil
}

// startEditor runs the editor that systemctl edit would run, and waits for it.
func startEditor(out *output, path, command string) error {
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
		// Without a context: the editor handles Ctrl-C itself.
		cmd := exec.Command(program, append(words[1:], path)...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = out.stdin, out.stdout, out.stderr
		if err := cmd.Run(); err != nil {
			return failure.New(failure.Failed, "", "%s: %w", words[0], err)
		}
		return nil
	}
	if len(candidates) > 1 {
		return failure.New(failure.HostUnable, preflight.EditorPackage.Install(), "no editor found: neither editor, nano, vim nor vi")
	}
	return failure.New(failure.HostUnable, "SYSTEMD_EDITOR=vi "+command, "the editor %s was not found", candidates[0][0])
}

// apply makes the user manager read the saved file.
func (d *document) apply(ctx context.Context, out *output, paths instance.Paths) error {
	m, err := manager.Dial(ctx)
	if err != nil {
		return noManager(fmt.Errorf("saved, but not applied: %w", err))
	}
	defer m.Close()
	if _, err := install(ctx, m, paths); err != nil { // check has printed all errors that matter here
		return err
	}
	if d.dir == "" {
		return nil
	}
	id, _, err := paths.PathID(d.dir)
	if err != nil {
		return err
	}
	if u, err := m.Unit(ctx, instance.VM.Unit(id)); err == nil && u.Running() {
		out.note("to apply the changes to the running VM: claude-vm-ctl restart%s", (&target{dir: d.dir}).hintArg())
	}
	return nil
}
