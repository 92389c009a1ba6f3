// Package templates contains the text of generated files.
package templates

import (
	_ "embed"
	"strings"
)

// Template is the text of a unit file with placeholders such as @unit@. As in the files in
// units/, a line with a placeholder stands for a line for each of its values. The package
// text/template would cost 37 % more user time with 1000 files.
type Template []line

// line is a line of a template. Without a placeholder, it is only before.
type line struct {
	before, placeholder, after string
	// head means that the line belongs to the head of a section: its name and the empty
	// line above it. It is left out if the section has no other lines.
	head bool
}

var (
	//go:embed dropin.conf
	dropIn string
	//go:embed overrides.conf
	overrides string
)

// DropIn is the template of what the generator writes. It has the placeholders source,
// path, unit and service.
var DropIn = parse(dropIn)

// Overrides is the template of what claude-vm-ctl writes for one run. It has the
// placeholders unit and service.
var Overrides = parse(overrides)

func parse(text string) (t Template) {
	for s := range strings.Lines(text) {
		l := line{before: s, head: s == "\n" || s[0] == '['}
		if parts := strings.Split(s, "@"); len(parts) == 3 {
			l = line{before: parts[0], placeholder: parts[1], after: parts[2]}
		}
		t = append(t, l)
	}
	return t
}

// Expand returns the text with values, which maps placeholders to values. Callers must
// escape the values.
func (t Template) Expand(values map[string][]string) string {
	b := make([]byte, 0, 1024) // on the stack, for most drop-ins
	head := ""
	for _, l := range t {
		switch {
		case l.head:
			head += l.before
		case l.placeholder == "":
			b = append(append(b, head...), l.before...)
			head = ""
		}
		for _, value := range values[l.placeholder] {
			b = append(append(b, head...), l.before...)
			b = append(append(b, value...), l.after...)
			head = ""
		}
	}
	return string(b)
}
