package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/term"
)

// This file owns what people see. The rules:
//
//   - Standard output is for what was asked for; for run and shell it belongs
//     to the program in the guest.
//   - Everything else goes to standard error after "claude-vm-ctl:", begins
//     with a small letter and has no full stop.
//   - An error says what, the hint below it the whole command that mends it.
//   - Progress is shown on a terminal only, in one line, and erased.

// Exit statuses of our own. run and shell else return the guest program's.
const (
	exitFailure     = 1
	exitUsage       = 2
	exitNoInstance  = 120 // no such VM, or it does not run
	exitHostUnable  = 121 // the machine lacks something; see doctor
	exitStartFailed = 122 // the VM did not start
	exitLost        = 123 // the connection into the VM, or the VM itself, was lost
	exitInterrupted = 130 // as a shell says it of Ctrl-C
)

// failure is an error with an exit status and a hint.
type failure struct {
	status int
	err    error
	hint   string // may be empty
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

func fail(status int, hint, format string, args ...any) error {
	return &failure{status: status, err: fmt.Errorf(format, args...), hint: hint}
}

type output struct {
	stdin, stdout, stderr *os.File
	progressing           bool
}

func newOutput(stdin, stdout, stderr *os.File) *output {
	return &output{stdin: stdin, stdout: stdout, stderr: stderr}
}

// terminal says whether a person sits at both ends of the standard streams.
func (o *output) terminal() bool {
	return term.IsTerminal(int(o.stdin.Fd())) && term.IsTerminal(int(o.stdout.Fd()))
}

// error prints err and gives the exit status that belongs to it.
func (o *output) error(err error) int {
	o.endProgress()
	status := exitFailure
	var f *failure
	fmt.Fprintf(o.stderr, "claude-vm-ctl: error: %s\n", oneLine(err.Error()))
	if errors.As(err, &f) {
		status = f.status
		if f.hint != "" {
			fmt.Fprintf(o.stderr, "claude-vm-ctl: hint: %s\n", oneLine(f.hint))
		}
	}
	return status
}

// note tells something that is not an error, to people only.
func (o *output) note(format string, args ...any) {
	if o.shows() {
		o.endProgress()
		fmt.Fprintf(o.stderr, "claude-vm-ctl: %s\n", oneLine(fmt.Sprintf(format, args...)))
	}
}

// shows says whether a person sees progress and notes.
func (o *output) shows() bool { return term.IsTerminal(int(o.stderr.Fd())) }

// progress shows one line that the next replaces.
func (o *output) progress(text string) {
	if !o.shows() {
		return
	}
	if columns, _, err := term.GetSize(int(o.stderr.Fd())); err == nil {
		runes := []rune(text)
		text = string(runes[:min(len(runes), max(columns-1, 0))])
	}
	fmt.Fprintf(o.stderr, "\r\x1b[K%s", text)
	o.progressing = true
}

func (o *output) endProgress() {
	if o.progressing {
		fmt.Fprint(o.stderr, "\r\x1b[K")
		o.progressing = false
	}
}

// oneLine makes text of unknown origin fit for a line of a terminal.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, strings.TrimSpace(text))
}
