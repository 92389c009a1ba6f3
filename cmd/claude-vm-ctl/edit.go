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
	cmd.Flag("defaults", "Edit defaults.conf, which is for all VMs.").BoolVar(&e.defaults)
	return cmd.FullCommand()
}

func (e *editVerb) run(ctx context.Context, out *output) (int, error) {
	if e.defaults && e.what != "." {
		return 0, usage(errors.New("--defaults is for all VMs, and takes no directory"))
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
	text, err := d.edit(out, e.again())
	if err != nil || text == nil {
		return 0, err
	}
	if faults := d.check(text, paths); len(faults) > 0 {
		out.fileErrors(faults)
		return 0, failure.New(failure.Failed, e.again(), "%s is not saved; the draft is kept in %s", d.file, d.draft())
	}
	switch err := d.save(text); {
	case errors.Is(err, errChanged):
		return 0, failure.New(failure.Failed, "diff "+failure.Command(d.file)+" "+failure.Command(d.draft()), "%s is not saved, since it has changed after the draft was begun; without %s edit begins anew", d.file, d.draft())
	case err != nil:
		return 0, failure.New(failure.Failed, e.again(), "%s is not saved; the draft is kept in %s: %w", d.file, d.draft(), failure.Plain(err))
	}
	out.note("saved %s", d.file)
	return 0, d.apply(context.WithoutCancel(ctx), out, paths)
}

// again is the command that goes on with a draft.
func (e *editVerb) again() string {
	switch {
	case e.defaults:
		return "claude-vm-ctl edit --defaults"
	case e.what == ".":
		return "claude-vm-ctl edit"
	}
	return "claude-vm-ctl edit " + failure.Command(e.what)
}

// document finds out what to edit. What belongs to the system is copied.
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

// newDocument is one for a directory that has none, named after it.
func newDocument(config, dir string, paths instance.Paths) (*document, error) {
	dirs := vmfile.SearchPath(paths)
	base := strings.TrimLeft(failure.OneLine(filepath.Base(dir)), ".")
	base = strings.ToValidUTF8(base[:min(len(base), 100)], "")
	name := base
	faulty := map[string]bool{} // of which one may be meant for this directory
	for _, e := range vmfile.Load(dirs, paths).Errors {
		faulty[e.File] = true
	}
	for n := 2; ; n++ {
		file := vmfile.Find(dirs, name+vmfile.Suffix)
		if faulty[file] {
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
	for _, v := range vmfile.LoadWith([]string{config}, paths, d.file, d.text).VMs {
		if v.WorkDirectory == dir {
			return d, nil
		}
	}
	return nil, failure.New(failure.Usage, mendName(dir), "no .vm file can name %s, which ends in a blank or a backslash or is no text", dir)
}

// mendName is the hint for a directory that no file can name.
func mendName(dir string) string {
	name := strings.TrimRight(strings.ToValidUTF8(filepath.Base(dir), "_"), `\ `)
	return "mv " + failure.Command(dir) + " " + failure.Command(filepath.Join(filepath.Dir(dir), name))
}

// lockEdit keeps others from editing files of the same user.
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
		return nil, failure.New(failure.Failed, "pgrep -af 'claude-vm-ctl edit'", "another claude-vm-ctl edit is at work in %s", dir)
	}
	return func() { f.Close() }, nil
}

// edit lets the person edit the draft and gives its text; nil if nothing came of it.
// The command again goes on with a draft.
func (d *document) edit(out *output, again string) ([]byte, error) {
	if err := d.begin(out); err != nil {
		return nil, err
	}
	editorErr := runEditor(out, d.draft(), again)
	text, err := os.ReadFile(d.draft())
	switch {
	case err != nil:
		return nil, failure.Plain(err)
	case len(bytes.TrimSpace(text)) == 0: // an empty file would be a mask
		d.end()
		return nil, failure.New(failure.Failed, "", "nothing is saved, for the draft was empty")
	case bytes.Equal(text, d.text):
		d.end()
		if editorErr == nil {
			out.note("nothing has changed")
		}
		return nil, editorErr
	case editorErr != nil:
		return nil, failure.New(failure.Failed, again, "%w: nothing is saved; the draft is kept in %s", editorErr, d.draft())
	}
	return text, nil
}

// runEditor runs the editor that systemctl edit would.
func runEditor(out *output, path, again string) error {
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
			return failure.New(failure.Failed, "", "%s: %w", words[0], err)
		}
		return nil
	}
	if len(candidates) > 1 {
		return failure.New(failure.HostUnable, preflight.EditorPackage.Install(), "there is no editor, nano, vim or vi")
	}
	return failure.New(failure.HostUnable, "SYSTEMD_EDITOR=vi "+again, "there is no editor %s", candidates[0][0])
}

// apply makes the user manager know the file that was saved.
func (d *document) apply(ctx context.Context, out *output, paths instance.Paths) error {
	m, err := manager.Dial(ctx)
	if err != nil {
		return noManager(fmt.Errorf("saved, but not read: %w", err))
	}
	defer m.Close()
	if _, err := install(ctx, m, paths); err != nil { // faults of other files are not this one's
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
		out.note("the VM that runs gets it by: claude-vm-ctl restart%s", (&target{dir: d.dir}).here())
	}
	return nil
}
