package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/terminal"
	"golang.org/x/term"
)

// This file prints all messages. The rules:
//
//   - Standard output is for results. With run and shell, the program in the guest uses it.
//   - Everything else is printed to standard error after "claude-vm-ctl:". It starts with a
//     lower-case letter and has no period at the end.
//   - An error describes the problem. The hint below it is the command that fixes it.
//   - Progress is printed to a terminal only, on one line, and erased.

// version is set by the linker.
var version = "devel"

type output struct {
	stdin, stdout, stderr *os.File
	progressing           bool
	// transcript gets a copy of what the guest writes to the terminal; nil for none.
	transcript io.Writer
	// guest is where the guest's output comes from; see target.showOn.
	guest struct {
		name      string
		clipboard bool
	}
}

func newOutput(stdin, stdout, stderr *os.File) *output {
	return &output{stdin: stdin, stdout: stdout, stderr: stderr}
}

// terminal reports whether standard input and standard output are terminals.
func (o *output) terminal() bool {
	return term.IsTerminal(int(o.stdin.Fd())) && term.IsTerminal(int(o.stdout.Fd()))
}

// error prints err with its hint and returns its exit status.
func (o *output) error(err error) int {
	o.endProgress()
	e := failure.Of(err)
	fmt.Fprintf(o.stderr, "claude-vm-ctl: error: %s\n", failure.OneLine(e.Error()))
	if e.Hint != "" {
		fmt.Fprintf(o.stderr, "claude-vm-ctl: hint: %s\n", failure.OneLine(e.Hint))
	}
	return e.Status
}

// note prints a message that is not an error, if standard error is a terminal.
func (o *output) note(format string, args ...any) {
	if o.shows() {
		o.endProgress()
		fmt.Fprintf(o.stderr, "claude-vm-ctl: %s\n", failure.OneLine(fmt.Sprintf(format, args...)))
	}
}

// warning prints a message that is not an error.
func (o *output) warning(text string) {
	o.endProgress()
	fmt.Fprintf(o.stderr, "claude-vm-ctl: warning: %s\n", failure.OneLine(text))
}

// red returns text in red if standard output is a terminal with colors.
func (o *output) red(text string) string {
	if !term.IsTerminal(int(o.stdout.Fd())) || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return text
	}
	return "\x1b[31m" + text + "\x1b[m"
}

// confirm asks a question and reports whether the answer is yes, which is the default. Without
// a terminal and after an interrupt, it returns false.
func (o *output) confirm(ctx context.Context, question string) bool {
	if !o.shows() || !term.IsTerminal(int(o.stdin.Fd())) {
		return false
	}
	fmt.Fprintf(o.stderr, "claude-vm-ctl: %s [Y/n] ", question)
	answer := make(chan string, 1)
	go func() {
		line, err := bufio.NewReader(o.stdin).ReadString('\n')
		if err != nil {
			line = "no"
		}
		answer <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case a := <-answer:
		return a == "" || a == "y" || a == "yes"
	case <-ctx.Done():
		return false
	}
}

// shows reports whether progress and notes are printed.
func (o *output) shows() bool { return term.IsTerminal(int(o.stderr.Fd())) }

// progress prints a line that replaces the previous one.
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

// screen returns a writer to a terminal for the output of the guest.
func (o *output) screen(f *os.File) *terminal.Screen {
	s := &terminal.Screen{W: f, Name: o.guest.name, Clipboard: o.guest.clipboard}
	if f == o.stdout && o.transcript != nil {
		s.W = io.MultiWriter(f, o.transcript)
	}
	return s
}

// stream returns f, or a writer that protects it if it is a terminal whose input is not read.
func (o *output) stream(f *os.File) io.Writer {
	if !term.IsTerminal(int(f.Fd())) {
		return f
	}
	s := o.screen(f)
	s.Silent = true
	return s
}

// usage is the error of a wrong command line, with the hint that err has.
func usage(err error) error {
	return failure.New(failure.Usage, failure.HintOf(err), "%w", err)
}
