package main

import (
	"fmt"
	"os"

	"github.com/t0mpr1c3/claude-microvm/internal/failure"
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

// version is set by the linker.
var version = "devel"

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
	e := failure.Of(err)
	fmt.Fprintf(o.stderr, "claude-vm-ctl: error: %s\n", failure.OneLine(e.Error()))
	if e.Hint != "" {
		fmt.Fprintf(o.stderr, "claude-vm-ctl: hint: %s\n", failure.OneLine(e.Hint))
	}
	return e.Status
}

// note tells something that is not an error, to people only.
func (o *output) note(format string, args ...any) {
	if o.shows() {
		o.endProgress()
		fmt.Fprintf(o.stderr, "claude-vm-ctl: %s\n", failure.OneLine(fmt.Sprintf(format, args...)))
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

// usage is the error of a wrong command line, with the hint that err has.
func usage(err error) error {
	return failure.New(failure.Usage, failure.HintOf(err), "%w", err)
}
