package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"github.com/t0mpr1c3/claude-microvm/internal/guest"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/manager"
)

// vm is one instance and what is needed to act on it.
type vm struct {
	env     instance.Environment
	id      string
	dir     string
	manager *manager.Manager
}

// open finds the instance that the person means: a directory, or an id.
func open(ctx context.Context, what string) (*vm, error) {
	env, err := instance.HostEnvironment()
	if err != nil {
		return nil, noManager(err)
	}
	v := &vm{env: env}
	if v.id, v.dir, err = find(env, what); err != nil {
		return nil, err
	}
	if v.manager, err = manager.Dial(ctx); err != nil {
		return nil, noManager(err)
	}
	return v, nil
}

// find resolves what a person calls an instance. A directory that exists comes
// first; an id never has a slash.
func find(env instance.Environment, what string) (id, dir string, err error) {
	if id, err = env.ID(what); err == nil {
		dir, err = instance.Resolve(what)
		return id, dir, err
	}
	if errors.Is(err, os.ErrNotExist) && !strings.Contains(what, "/") {
		if dir, unescaped := instance.Directory(what); unescaped == nil {
			if _, err := os.Stat(dir); err == nil || isRuntime(env, what) {
				return what, dir, nil
			}
		}
	}
	return "", "", &failure{status: exitUsage, err: plain(err), hint: "name a project's directory, or its id as 'claude-vm-ctl id' prints it"}
}

func isRuntime(env instance.Environment, id string) bool {
	_, err := os.Stat(env.RuntimeDirectory(id))
	return err == nil
}

// plain removes the system call's name from a path error.
func plain(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return fmt.Errorf("%s: %w", p.Path, p.Err)
	}
	return err
}

func noManager(err error) error {
	return &failure{
		status: exitHostUnable, err: err,
		hint: "log in as yourself (ssh, machinectl shell), not by su or sudo; then 'systemctl --user status' answers",
	}
}

func (v *vm) unit() string { return instance.Unit(v.id) }

func (v *vm) state(ctx context.Context) (manager.Unit, error) {
	return v.manager.Unit(ctx, v.unit())
}

// here is how the person would name the VM again.
func (v *vm) here() string {
	if wd, err := os.Getwd(); err == nil && wd == v.dir {
		return ""
	}
	return " " + shellQuote(v.dir)
}

// shellQuote makes text one word of a shell's command line.
func shellQuote(text string) string {
	plain := func(r rune) bool {
		return r == '/' || r == '.' || r == '_' || r == '-' || r == '+' || r == ':' || r > 0x7f ||
			'0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
	}
	if text != "" && strings.IndexFunc(text, func(r rune) bool { return !plain(r) }) < 0 {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// notRunning is the error of verbs that need a running VM.
func (v *vm) notRunning() error {
	return fail(exitNoInstance, "claude-vm-ctl run"+v.here(), "no VM runs on %s", v.dir)
}

// dial connects into the running VM.
func (v *vm) dial(ctx context.Context, user string) (*guest.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, guest.DialTimeout)
	defer cancel()
	c, err := guest.Dial(ctx, v.env.RuntimeDirectory(v.id), user)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, v.notRunning()
	case errors.Is(err, guest.ErrBusy):
		return nil, fail(exitFailure, "leave one of the attached terminals or shells", "%s: %w", v.dir, err)
	case err != nil:
		return nil, fail(exitLost, "claude-vm-ctl logs"+v.here(), "%s: %w", v.dir, err)
	}
	return c, nil
}

// start starts the instance with a request and waits until Claude runs. Its
// error says which unit failed and why.
func (v *vm) start(ctx context.Context, out *output, r contract.Request) error {
	offer, err := v.offer(ctx, r)
	if err != nil {
		return err
	}
	defer offer.Withdraw()
	if err := v.ensureUnits(ctx); err != nil {
		return err
	}
	if err := v.awaitGone(ctx); err != nil {
		return err
	}
	stop := v.showProgress(out)
	began := time.Now()
	result, err := v.manager.Start(ctx, v.unit())
	stop()
	if err != nil {
		if ctx.Err() != nil { // interrupted: leave nothing half-started
			stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
			defer cancel()
			if _, err := v.manager.Stop(stopping, v.unit()); err != nil {
				return fail(exitFailure, "claude-vm-ctl stop"+v.here(), "interrupted, but %s is not stopped: %w", v.unit(), err)
			}
			return fail(128+2, "", "interrupted")
		}
		return fail(exitStartFailed, "claude-vm-ctl doctor", "start %s: %w", v.unit(), err)
	}
	if result != "done" {
		return v.explain(ctx, began)
	}
	if !offer.Taken() && (len(r.Arguments) > 0 || !r.Terminal) {
		return fail(exitFailure, "claude-vm-ctl attach"+v.here(), "somebody else has just started the VM on %s, with other arguments", v.dir)
	}
	return nil
}

// offer leaves the request for the setup unit, waiting while another start of
// the same instance is under way.
func (v *vm) offer(ctx context.Context, r contract.Request) (*instance.Offer, error) {
	for {
		offer, err := v.env.Offer(v.id, r)
		if !errors.Is(err, instance.ErrStarting) {
			return offer, err
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// awaitGone waits for the end of an instance that is being stopped, and then for
// its setup unit's, which follows: a start in between would go on with the old
// runtime directory and the old request.
func (v *vm) awaitGone(ctx context.Context) error {
	running := false
	err := v.manager.Watch(ctx, v.unit(), func(u manager.Unit) bool {
		running = u.Running()
		return running || u.Gone()
	})
	if err != nil || running {
		return err
	}
	return v.manager.Watch(ctx, instance.SetupUnit(v.id), manager.Unit.Gone)
}

// showProgress shows the unit's status until the returned function is called.
func (v *vm) showProgress(out *output) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		began := time.Now()
		for {
			text := "Starting the VM"
			if u, err := v.state(ctx); err == nil && u.StatusText != "" && u.Running() {
				text = oneLine(u.StatusText)
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

// explain finds out which of the units failed to start and why.
func (v *vm) explain(ctx context.Context, began time.Time) error {
	hint := "claude-vm-ctl logs" + v.here()
	for _, name := range []string{instance.SetupUnit(v.id), instance.ShareUnit(v.id), v.unit()} {
		u, err := v.manager.Unit(ctx, name)
		if err != nil || u.ActiveState != "failed" && (u.Result == "success" || u.Result == "") {
			continue
		}
		reason := oneLine(u.StatusText)
		if reason == "" {
			reason = lastWords(ctx, name, began)
		}
		if reason == "" {
			reason = "result " + u.Result
		}
		if name == instance.SetupUnit(v.id) {
			return fail(exitHostUnable, "claude-vm-ctl doctor", "%s", reason)
		}
		return fail(exitStartFailed, hint, "the VM on %s did not start: %s", v.dir, reason)
	}
	return fail(exitStartFailed, hint, "the VM on %s was stopped while it started", v.dir)
}

// ensureUnits makes the manager know our units. A program that runs from a
// build or store directory links those beside it for this login.
func (v *vm) ensureUnits(ctx context.Context) error {
	u, err := v.state(ctx)
	if err != nil {
		return err
	}
	linked := filepath.Join(v.env.RuntimeDir, "systemd/user")
	if u.LoadState == "loaded" {
		if u.Stale && filepath.Dir(u.Fragment) == linked { // built anew since
			return v.manager.Reload(ctx)
		}
		return nil
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	from := filepath.Join(filepath.Dir(filepath.Dir(self)), "lib/systemd/user")
	units, err := filepath.Glob(filepath.Join(from, "*claude*"))
	if err != nil || len(units) == 0 {
		return fail(exitHostUnable, "make install", "the user manager does not know claude-vm@.service, and it is not in %s", from)
	}
	if err := os.MkdirAll(linked, 0o755); err != nil {
		return err
	}
	for _, unit := range units {
		link := filepath.Join(linked, filepath.Base(unit))
		if old, err := os.Readlink(link); err == nil && old != unit {
			os.Remove(link)
		}
		if err := os.Symlink(unit, link); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	return v.manager.Reload(ctx)
}
