// Package failure defines the errors that are shown to users: what is wrong, in which
// file, how to fix it, and the exit status of the program that reports it.
package failure

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"unicode"
)

// Exit statuses of claude-vm-ctl. run and shell otherwise return the status of the
// program in the guest.
const (
	Failed      = 1
	Usage       = 2   // wrong command line, or invalid value
	NoInstance  = 120 // no such VM, or it does not run
	HostUnable  = 121 // the host lacks something; see claude-vm-ctl doctor
	StartFailed = 122 // the VM did not start
	Lost        = 123 // the connection to the VM, or the VM itself, was lost
	Interrupted = 130 // 128 + SIGINT, as in shells
)

// Error is an error with a hint.
type Error struct {
	File   string // the file with the error; may be empty
	Line   int    // in File, from 1; 0 means the whole file
	Status int    // exit status; 0 means Failed
	Err    error  // what is wrong
	Hint   string // the command that fixes it; may be empty
}

// New returns an Error without a file.
func New(status int, hint, format string, args ...any) error {
	return &Error{Status: status, Hint: hint, Err: fmt.Errorf(format, args...)}
}

// Error returns "file:line: text"; file and line are left out if they are not set.
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

// Of returns err as an Error. If err does not wrap an Error, the status is Failed.
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

// message is the form in which an Error is passed from one process to another.
type message struct {
	Status int    `json:"status"`
	Text   string `json:"text"`
	Hint   string `json:"hint,omitempty"`
}

// MarshalJSON encodes status, text and hint. File and line become part of the text.
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

// Command quotes words and joins them to a shell command line, for hints.
func Command(words ...string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		quoted[i] = quote(word)
	}
	return strings.Join(quoted, " ")
}

// quote returns text as one word of a shell command line.
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

// maxLine is the maximum length in bytes of a line of OneLine. Paths and hints with several are shorter.
const maxLine = 32 << 10

// OneLine makes untrusted text safe to print on one line of a terminal: control characters
// become spaces, and so do others that are not printable, such as those that change the
// direction of text. It cuts what no message needs: a guest or QEMU could fill the journal with an error.
func OneLine(text string) string {
	if text = strings.TrimSpace(text); len(text) > maxLine {
		text = strings.ToValidUTF8(text[:maxLine], "") + "…"
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
}
