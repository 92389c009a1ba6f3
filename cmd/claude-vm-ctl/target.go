package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/guest"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/manager"
	"github.com/t0mpr1c3/claude-microvm/internal/vmfile"
	"golang.org/x/sys/unix"
)

// target is one instance and what is needed to act on it.
type target struct {
	paths   instance.Paths
	id      string
	dir     string
	manager unitManager
}

// open finds the instance that the caller names, and the state of its VM's unit.
func open(ctx context.Context, what string) (*target, manager.Unit, error) {
	var u manager.Unit
	paths, err := hostPaths()
	if err != nil {
		return nil, u, noManager(err)
	}
	v := &target{paths: paths}
	if v.id, v.dir, err = find(paths, what); err != nil {
		return nil, u, err
	}
	m, err := manager.Dial(ctx)
	if err != nil {
		return nil, u, noManager(err)
	}
	v.manager = m
	// The reference keeps the unit loaded. Otherwise the manager could unload it after each
	// method call, and its result would be lost. Ref fails if the unit file is missing; this
	// is not an error here, because the state below shows it.
	if err := v.manager.Ref(ctx, v.unit()); err != nil && ctx.Err() != nil {
		v.manager.Close()
		return nil, u, err
	}
	if u, err = v.state(ctx); err != nil {
		v.manager.Close()
	}
	return v, u, err
}

// find resolves the name of an instance: a directory, an id, or the name of a .vm file.
func find(paths instance.Paths, what string) (id, dir string, err error) {
	if what == "" { // maybe an unset variable of a shell
		return "", "", failure.New(failure.Usage, "claude-vm-ctl list --all", "the name of the directory is empty")
	}
	if id, err = paths.ID(what); err == nil {
		dir, err = instance.Resolve(what)
		return id, dir, err
	}
	if isDirectory(what) {
		return "", "", &failure.Error{Status: failure.Usage, Err: failure.Plain(err), Hint: "mkdir -p ~/project && claude-vm-ctl run ~/project"}
	}
	if strings.Contains(what, "/") {
		return "", "", &failure.Error{Status: failure.Usage, Err: failure.Plain(err), Hint: "claude-vm-ctl list --all"}
	}
	return findNamed(paths, what)
}

// findNamed is find without directories.
func findNamed(paths instance.Paths, what string) (id, dir string, err error) {
	if dir, err := instance.Directory(what); err == nil && (isDirectory(dir) || isRuntime(paths, what)) {
		return what, dir, nil
	}
	dirs := vmfile.SearchPath(paths)
	file := findFile(dirs, what)
	if file == "" {
		return "", "", failure.New(failure.Usage, "claude-vm-ctl list --all", "no directory, id or .vm file has the name %s", what)
	}
	for _, v := range vmfile.Load(dirs, paths).VMs {
		if v.Source[0] != file {
			continue
		}
		id, link, err := paths.PathID(v.WorkDirectory)
		if err == nil && link != "" {
			err = instance.MakeShortLink(link, v.WorkDirectory)
		}
		return id, v.WorkDirectory, err
	}
	return "", "", failure.New(failure.Usage, "claude-vm-ctl edit "+failure.Command(what), "%s has no valid WorkDirectory=", file)
}

// findFile returns the .vm file of a name, which may end in .vm; empty if there is none.
func findFile(dirs []string, what string) string {
	if strings.Contains(what, "/") {
		return ""
	}
	return cmp.Or(vmfile.Find(dirs, what+vmfile.Suffix), vmfile.Find(dirs, strings.TrimSuffix(what, vmfile.Suffix)+vmfile.Suffix))
}

func isDirectory(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func isRuntime(paths instance.Paths, id string) bool {
	_, err := os.Stat(paths.RuntimeDirectory(id))
	return err == nil
}

// hostPaths returns the user's paths. It fails without a user manager.
func hostPaths() (instance.Paths, error) {
	paths, err := instance.HostPaths()
	if err == nil {
		err = paths.CheckRuntime()
	}
	return paths, err
}

func noManager(err error) error {
	return failure.New(failure.HostUnable, "log in as yourself (ssh, machinectl shell), not with su or sudo; then 'systemctl --user status' must work", "%w", err)
}

func (v *target) unit() string { return instance.VM.Unit(v.id) }

func (v *target) state(ctx context.Context) (manager.Unit, error) {
	return v.manager.Unit(ctx, v.unit())
}

// hintArg returns the argument, after a space, that names the VM in a hint. It is empty if
// the work directory is the current directory.
func (v *target) hintArg() string {
	if wd, err := os.Getwd(); err == nil && wd == v.dir {
		return ""
	}
	return " " + failure.Command(v.dir)
}

// notRunning is noInstance for verbs that show Claude's terminal.
func (v *target) notRunning() error { return v.noInstance("claude-vm-ctl run" + v.hintArg()) }

// noInstance is the error of verbs that need a running VM. For verbs that use the terminal
// themselves, the hint should not be "run", which would also use it.
func (v *target) noInstance(hint string) error {
	return failure.New(failure.NoInstance, hint, "no VM is running on %s", v.dir)
}

// dial connects to the running VM.
func (v *target) dial(ctx context.Context, user string) (*guest.Client, error) {
	ctx, cancel := guest.WithTimeout(ctx)
	defer cancel()
	c, err := guest.Dial(ctx, v.paths.RuntimeDirectory(v.id), user)
	if err != nil {
		return nil, v.dialError(err)
	}
	return c, nil
}

func (v *target) dialError(err error) error {
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, unix.ECONNREFUSED): // QEMU has just exited
		return v.noInstance("claude-vm-ctl start" + v.hintArg())
	case errors.Is(err, guest.ErrBusy):
		return failure.New(failure.Failed, "pgrep -af claude-vm-ctl", "%s: %w", v.dir, err)
	}
	var op *net.OpError
	if errors.As(err, &op) { // omit its address, a path in /proc/self/fd that means nothing to users
		err = op.Err
	}
	return failure.New(failure.Lost, "claude-vm-ctl logs"+v.hintArg(), "cannot connect to the VM on %s: %w", v.dir, err)
}

// directoryOf returns the work directory of a VM's unit, or the unit if it has none.
func directoryOf(unit string) string {
	dir, err := instance.Directory(instance.UnitID(unit))
	if err != nil {
		return unit
	}
	return dir
}

// directoryArg declares the argument that names an instance.
func directoryArg(cmd *kingpin.CmdClause, target *string) {
	cmd.Arg("dir", "The project's directory, its id, or the name of its .vm file.").Default(".").HintAction(instanceHints).StringVar(target)
}

// showProgress shows the unit's status until the returned function is called.
func (v *target) showProgress(out *output) (stop func()) {
	if !out.shows() {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		began := time.Now()
		for {
			text := "Starting the VM"
			if u, err := v.state(ctx); err == nil && u.StatusText != "" && u.Running() {
				text = failure.OneLine(u.StatusText)
			}
			select {
			case <-ctx.Done():
				return
			default:
				out.progress(fmt.Sprintf("%s … %.0f s", text, time.Since(began).Seconds()))
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(200 * time.Millisecond):
			}
		}
	}()
	return func() {
		cancel()
		<-done
		out.endProgress()
	}
}
