// Package unitfile reads and writes the syntax of systemd's unit files,
// systemd.syntax(7), and keeps line numbers. It knows no section and no key.
//
// go-systemd has a parser, too. It has no line numbers, drops what stands before
// the first section, and takes a comment inside a continued line for a part of
// it; the tests ask it for a second opinion on everything else.
package unitfile

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/t0mpr1c3/claude-microvm/internal/failure"
)

// MaxSize is the size, in bytes, from which a text is refused: LONG_LINE_MAX of
// systemd, which bounds its lines.
const MaxSize = 1 << 20

// File is what a text says, in its order.
type File struct {
	Name     string
	Sections []Section
	Entries  []Entry
}

// Section is a section's header.
type Section struct {
	Name string
	Line int
}

// Entry is one assignment. Its line is the one with the key.
type Entry struct {
	Section, Key, Value string
	Line                int
}

// Parse reads a file. It goes on after a fault: File holds all that is well.
func Parse(name string, text []byte) (*File, []*failure.Error) {
	p := &parser{file: &File{Name: name}}
	if len(text) > MaxSize {
		p.fail(0, "larger than 1 MiB", "")
		return p.file, p.errs
	}
	rest := strings.TrimPrefix(string(text), "\ufeff")
	var joined []byte // what is continued, up to here
	first := 0        // the number of its first line; 0 if nothing is
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

// isComment says whether a line is one, be it amid a continued line.
func isComment(line string) bool {
	line = strings.TrimLeft(line, blanks)
	return line != "" && (line[0] == '#' || line[0] == ';')
}

// blanks are what systemd strips from a line's and a value's ends.
const blanks = " \t"

// cutLine splits at the first end of a line: LF, CR LF, or CR alone.
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

// continued says whether a line ends in a backslash that is not escaped.
func continued(line string) bool {
	n := len(line) - len(strings.TrimRight(line, `\`))
	return n%2 == 1
}

type parser struct {
	file    *File
	errs    []*failure.Error
	section string // empty before the first, and in one that is refused
	refused bool
}

func (p *parser) fail(line int, message, hint string) {
	p.errs = append(p.errs, &failure.Error{File: p.file.Name, Line: line, Status: failure.Usage, Err: errors.New(message), Hint: hint})
}

// check refuses bytes that have no place in a text.
func (p *parser) check(number int, line string) bool {
	switch {
	case !utf8.ValidString(line):
		p.fail(number, "not UTF-8", "")
	case strings.IndexByte(line, 0) >= 0:
		p.fail(number, "a NUL byte", "")
	case strings.ContainsFunc(line, func(r rune) bool { return r != '\t' && unicode.IsControl(r) }):
		p.fail(number, "a control character", "")
	default:
		return true
	}
	return false
}

// line reads one logical line that is no comment.
func (p *parser) line(number int, line string) {
	if !p.check(number, line) {
		return
	}
	line = strings.Trim(line, blanks)
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
	p.section, p.refused = "", true
	switch {
	case !closed:
		p.fail(number, fmt.Sprintf("section header without a closing bracket: %s", abridged(line)), "")
	case !isName(name):
		p.fail(number, fmt.Sprintf("not a section's name: %q", abridged(name)), "")
	default:
		p.section, p.refused = name, false
		p.file.Sections = append(p.file.Sections, Section{Name: name, Line: number})
	}
}

func (p *parser) assignment(number int, line string) {
	key, value, found := strings.Cut(line, "=")
	key = strings.TrimRight(key, blanks)
	switch {
	case !found:
		p.fail(number, fmt.Sprintf("missing '=' after %q", abridged(line)), "end the line before with a backslash if this one continues it")
	case !isName(key):
		p.fail(number, fmt.Sprintf("not a key: %q", abridged(key)), "")
	case p.refused: // its section's header has been told
	case p.section == "":
		p.fail(number, fmt.Sprintf("%s= before any section", abridged(key)), "begin with a section's name in brackets")
	case continued(value): // and written again, it would be
		p.fail(number, fmt.Sprintf("%s= ends in a backslash and a blank", abridged(key)), "remove the blank to continue the line, double the backslash to have one")
	default:
		p.file.Entries = append(p.file.Entries, Entry{Section: p.section, Key: key, Value: strings.TrimLeft(value, blanks), Line: number})
	}
}

// isName says whether text is fit for the name of a section or a key.
func isName(text string) bool {
	return text != "" && strings.IndexFunc(text, func(r rune) bool {
		return r != '-' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}) < 0
}

// abridged keeps a message to one line of a screen.
func abridged(text string) string {
	if r := []rune(text); len(r) > 40 {
		return string(r[:39]) + "…"
	}
	return text
}
