// Package failure is the error that people see: what is wrong, in which file, how to
// fix it, and the exit status of the program that reports it.
package failure

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
)

// Exit statuses of claude-vm-ctl. run and shell otherwise return the status of the
// program in the guest.
const (
	Failed      = 1
	Usage       = 2   // wrong command line, or invalid value
	NoInstance  = 120 // no such VM, or it does not run
	HostUnable  = 121 // the machine lacks something; see doctor
	StartFailed = 122 // the VM did not start
	Lost        = 123 // the connection to the VM, or the VM itself, was lost
	Interrupted = 130 // 128 + SIGINT, as shells have it
)

// Error is an error with a hint.
type Error struct {
	File   string // the file that is wrong; may be empty
	Line   int    // in File, from 1; 0 stands for all of it
	Status int    // exit status; 0 stands for Failed
	Err    error  // what is wrong
	Hint   string // the command that fixes it; may be empty
}

// New returns an Error without a file.
func New(status int, hint, format string, args ...any) error {
	return &Error{Status: status, Hint: hint, Err: fmt.Errorf(format, args...)}
}

// Error is file:line: text.
func (e *Error) Error() string {
	switch {
	case e.File == "":
		return e.Err.Error()
	case e.Line == 0:
		return e.File + ": " + e.Err.Error()
	}
	return fmt.Sprintf("%s:%d: %v", e.File, e.Line, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// Of returns err as an Error, which it makes if there is none.
func Of(err error) *Error {
	var e *Error
	if !errors.As(err, &e) {
		return &Error{Status: Failed, Err: err}
	}
	// err may say more than the Error that it wraps.
	return &Error{Status: max(e.Status, Failed), Err: err, Hint: e.Hint}
}

// HintOf returns the hint of err; empty if there is none.
func HintOf(err error) string { return Of(err).Hint }

// message is an Error on its way between two processes.
type message struct {
	Status int    `json:"status"`
	Text   string `json:"text"`
	Hint   string `json:"hint,omitempty"`
}

// MarshalJSON keeps status, text and hint.
func (e *Error) MarshalJSON() ([]byte, error) {
	return json.Marshal(message{e.Status, e.Error(), e.Hint})
}

// UnmarshalJSON is the inverse of MarshalJSON.
func (e *Error) UnmarshalJSON(text []byte) error {
	var m message
	err := json.Unmarshal(text, &m)
	*e = Error{Status: m.Status, Err: errors.New(m.Text), Hint: m.Hint}
	return err
}

// Command makes words a command line for a shell, for hints.
func Command(words ...string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		quoted[i] = quote(word)
	}
	return strings.Join(quoted, " ")
}

// quote makes text one word of a shell's command line.
func quote(text string) string {
	special := func(r rune) bool {
		return !strings.ContainsRune("/._-+:@", r) && r <= 0x7f && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}
	if text != "" && strings.IndexFunc(text, special) < 0 {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// Plain removes the system call's name from a path error.
func Plain(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return fmt.Errorf("%s: %w", p.Path, p.Err)
	}
	return err
}

// OneLine makes text of unknown origin fit for a line of a terminal.
func OneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, strings.TrimSpace(text))
}
