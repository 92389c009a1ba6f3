// Package unitfile parses and quotes the syntax of systemd unit files, see
// systemd.syntax(7), and records line numbers. It does not interpret section or key
// names.
//
// The parser of go-systemd is not used because it has no line numbers, drops text
// before the first section, and treats a comment inside a continued line as part of
// the value. Tests compare the two parsers on all other input.
package unitfile

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/t0mpr1c3/claude-microvm/internal/failure"
)

// MaxSize is the maximum size of a file in bytes. It equals systemd's LONG_LINE_MAX,
// the maximum length of a line.
const MaxSize = 1 << 20

// File is a parsed file. Sections and entries are in file order.
type File struct {
	Name     string
	Sections []Section
	Entries  []Entry
}

// Section is a section header.
type Section struct {
	Name string
	Line int
}

// Entry is one assignment. Line is the line of its key, from 1.
type Entry struct {
	Section, Key, Value string
	Line                int
}

// Parse parses a file. It continues after an error: File holds all valid entries.
func Parse(name string, text []byte) (*File, []*failure.Error) {
	p := &parser{file: &File{Name: name}}
	if len(text) > MaxSize {
		p.fail(0, "larger than 1 MiB", "")
		return p.file, p.errs
	}
	// Enough for most files: growing the slices takes more memory than what they hold.
	p.file.Sections = make([]Section, 0, min(bytes.Count(text, []byte{'['}), 8))
	p.file.Entries = make([]Entry, 0, min(bytes.Count(text, []byte{'='}), 16))
	rest := strings.TrimPrefix(string(text), "\ufeff")
	var joined []byte // the lines so far of a continued line
	first := 0        // number of its first line; 0 outside of a continued line
	for number := 1; rest != ""; number++ {
		var line string
		line, rest = cutLine(rest)
		if isComment(line) {
			p.check(number, line)
			continue
		}
		if first == 0 {
			first = number
		}
		if continued(line) {
			joined = append(append(joined, line[:len(line)-1]...), ' ')
			continue
		}
		if len(joined) > 0 {
			line = string(append(joined, line...))
		}
		p.line(first, line)
		joined, first = joined[:0], 0
	}
	if first != 0 {
		p.line(first, string(joined))
	}
	return p.file, p.errs
}

// isComment reports whether a line is a comment. Comments are also allowed between
// the lines of a continued line.
func isComment(line string) bool {
	line = strings.TrimLeft(line, whitespace)
	return line != "" && (line[0] == '#' || line[0] == ';')
}

// whitespace is what systemd strips from both ends of lines and values.
const whitespace = " \t"

// cutLine splits text at the first line ending: LF, CR LF, or CR alone.
func cutLine(text string) (line, rest string) {
	i := strings.IndexAny(text, "\r\n")
	if i < 0 {
		return text, ""
	}
	if strings.HasPrefix(text[i:], "\r\n") {
		return text[:i], text[i+2:]
	}
	return text[:i], text[i+1:]
}

// continued reports whether a line ends with a backslash that is not escaped.
func continued(line string) bool {
	n := len(line) - len(strings.TrimRight(line, `\`))
	return n%2 == 1
}

type parser struct {
	file    *File
	errs    []*failure.Error
	section string // empty before the first section and in an invalid one
	invalid bool   // the current section has an invalid header
}

func (p *parser) fail(line int, message, hint string) {
	p.errs = append(p.errs, &failure.Error{File: p.file.Name, Line: line, Status: failure.Usage, Err: errors.New(message), Hint: hint})
}

// check reports whether a line has only characters that are allowed in text, and
// adds an error if not.
func (p *parser) check(number int, line string) bool {
	switch {
	case !utf8.ValidString(line):
		p.fail(number, "not valid UTF-8", "")
	case strings.IndexByte(line, 0) >= 0:
		p.fail(number, "contains a NUL byte", "")
	case strings.ContainsFunc(line, func(r rune) bool { return r != '\t' && unicode.IsControl(r) }):
		p.fail(number, "contains a control character", "")
	default:
		return true
	}
	return false
}

// line parses one logical line, with continuation lines joined, that is not a comment.
func (p *parser) line(number int, line string) {
	if !p.check(number, line) {
		return
	}
	line = strings.Trim(line, whitespace)
	switch {
	case line == "":
	case line[0] == '[':
		p.header(number, line)
	default:
		p.assignment(number, line)
	}
}

func (p *parser) header(number int, line string) {
	name, closed := strings.CutSuffix(line[1:], "]")
	p.section, p.invalid = "", true
	switch {
	case !closed:
		p.fail(number, fmt.Sprintf("section header without a closing bracket: %s", abridged(line)), "")
	case !isName(name):
		p.fail(number, fmt.Sprintf("invalid section name: %q", abridged(name)), "")
	default:
		p.section, p.invalid = name, false
		p.file.Sections = append(p.file.Sections, Section{Name: name, Line: number})
	}
}

func (p *parser) assignment(number int, line string) {
	key, value, found := strings.Cut(line, "=")
	key = strings.TrimRight(key, whitespace)
	switch {
	case !found:
		p.fail(number, fmt.Sprintf("missing '=' after %q", abridged(line)), "if this line continues the line before it, end that line with a backslash")
	case !isName(key):
		p.fail(number, fmt.Sprintf("invalid key name: %q", abridged(key)), "")
	case p.invalid: // the section header is already reported
	case p.section == "":
		p.fail(number, fmt.Sprintf("%s= is outside of any section", abridged(key)), "put a section header in brackets above it")
	case continued(value): // written to a drop-in, it would continue to the next line
		p.fail(number, fmt.Sprintf("%s= ends with a backslash and a space", abridged(key)), "remove the space to continue the line, or double the backslash")
	default:
		p.file.Entries = append(p.file.Entries, Entry{Section: p.section, Key: key, Value: strings.TrimLeft(value, whitespace), Line: number})
	}
}

// isName reports whether text is a valid name of a section or a key.
func isName(text string) bool {
	return text != "" && strings.IndexFunc(text, func(r rune) bool {
		return r != '-' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}) < 0
}

// abridged shortens text so that a message fits into one line of a terminal.
func abridged(text string) string {
	if r := []rune(text); len(r) > 40 {
		return string(r[:39]) + "…"
	}
	return text
}
