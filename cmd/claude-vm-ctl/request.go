package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/step"
	"github.com/t0mpr1c3/claude-microvm/internal/vm"
	"golang.org/x/term"
)

// newRequest returns a request with the caller's terminal and environment.
func newRequest(out *output, verb string, args []string) (instance.Request, error) {
	r := instance.Request{
		Session: contract.Session{Arguments: args, Terminal: out.terminal(), Environment: map[string]string{}},
		By:      startedBy(out, verb), AuthSocket: os.Getenv("SSH_AUTH_SOCK"),
	}
	for i, arg := range args {
		if !utf8.ValidString(arg) {
			return r, failure.New(failure.Usage, "claude-vm-ctl run . -- -p <FILE", "argument %d of Claude is not UTF-8: %q", i+1, arg)
		}
	}
	for _, entry := range os.Environ() {
		name, value, _ := strings.Cut(entry, "=")
		if instance.IsPassed(name, value) && utf8.ValidString(value) {
			r.Environment[name] = value
		}
	}
	if r.Terminal {
		if columns, rows, err := term.GetSize(int(out.stdout.Fd())); err == nil {
			r.Columns, r.Rows = columns, rows
		}
	}
	return r, nil
}

// startedBy describes this process, for the status of the VM.
func startedBy(out *output, verb string) string {
	by := fmt.Sprintf("claude-vm-ctl %s, process %d", verb, os.Getpid())
	for _, f := range []*os.File{out.stdin, out.stdout, out.stderr} {
		if name, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd())); err == nil && term.IsTerminal(int(f.Fd())) {
			return by + ", on " + strings.TrimPrefix(name, "/dev/")
		}
	}
	return by
}

// fitTerminal applies Terminal= to the request of a caller that will attach. It returns an
// error if Claude needs a terminal and the caller has none.
func (v *target) fitTerminal(ctx context.Context, r *instance.Request, n *overrides) error {
	settings, err := step.Settings(ctx, v.manager, v.id, v.dir)
	if n != nil {
		settings, err = n.settings, nil
	}
	if err != nil {
		return err
	}
	switch settings.Terminal {
	case vm.TerminalNo:
		r.Terminal = false
	case vm.TerminalYes:
		if !r.Terminal {
			return failure.New(failure.Usage, "claude-vm-ctl start"+v.hintArg(), "Claude needs a terminal (Terminal=yes), and standard input or output is not one")
		}
	}
	return nil
}
