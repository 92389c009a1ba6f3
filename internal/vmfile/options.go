package vmfile

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/unitfile"
	"github.com/t0mpr1c3/claude-microvm/internal/vm"
)

// Option is an override for one run, from a command line.
type Option struct {
	// Flag is the option as the user wrote it, for messages: --memory, for example.
	Flag string
	// Key is the name of a key or SECTION.KEY. [Unit] and [Service] need the latter.
	Key   string
	Value string
	// Literal means that the value is one word without quotes and specifiers, because
	// the shell has already expanded it.
	Literal bool
}

// Apply returns a copy of v with the options applied. In the error, File is the option.
func Apply(v vm.VM, options []Option, p instance.Paths) (vm.VM, *failure.Error) {
	v = v.Clone()
	r := &applier{vm: &v, specifiers: HostSpecifiers(p)}
	for _, o := range options {
		if err := r.option(o); err != nil {
			err.File = o.Flag
			return v, err
		}
	}
	if key, err := v.Validate(); err != nil {
		at := r.where(key)
		if at.file == "" { // the key is not among the options
			at.file = "the options"
		}
		return v, &failure.Error{File: at.file, Err: err}
	}
	return v, nil
}

// option applies one option.
func (r *applier) option(o Option) *failure.Error {
	section, name, found := strings.Cut(o.Key, ".")
	if !found {
		section, name = "", o.Key
	}
	switch {
	case !utf8.ValidString(o.Value) || strings.IndexByte(o.Value, 0) >= 0:
		return &failure.Error{Err: fmt.Errorf("%s=%q is not valid text", name, o.Value)}
	case name == "WorkDirectory", section == sectionInstall:
		return &failure.Error{Err: fmt.Errorf("%s= cannot be changed for one run", name)}
	case section == sectionUnit, section == sectionService:
		// The value must not start another line or section, so parse what would be written.
		want := unitfile.Entry{Section: section, Key: name, Value: strings.TrimSpace(o.Value), Line: 2}
		file, errs := unitfile.Parse("", []byte("["+section+"]\n"+name+"="+o.Value+"\n"))
		if len(errs) > 0 || len(file.Entries) != 1 || file.Entries[0] != want {
			return &failure.Error{Err: fmt.Errorf("%s=%s is not a valid line of a unit file", name, abridged(o.Value))}
		}
		return r.assign(want)
	}
	k := findKey(section, name)
	if k == nil {
		return &failure.Error{Err: fmt.Errorf("unknown key %s=", abridged(o.Key)), Hint: optionHint(name, o.Value)}
	}
	r.files = append(r.files, &unitfile.File{Name: o.Flag, Entries: []unitfile.Entry{{Section: k.Section, Key: k.Name}}})
	switch {
	case !o.Literal:
		return r.set(k, o.Value)
	case o.Value == "": // probably an unset variable of a shell
		return &failure.Error{Err: fmt.Errorf("%s= has no value", k.Name), Hint: fmt.Sprintf("--set %s= resets it to the default or to an empty list", k.Name)}
	}
	return r.setLiteral(k, o.Value)
}

// setLiteral applies a value with Option.Literal. In such a value of Mount=, the host's path
// may be relative to the current directory.
func (r *applier) setLiteral(k *Key, value string) *failure.Error {
	if host, rest, found := strings.Cut(value, ":"); k.Name == "Mount" && found && host != "" {
		if absolute, err := filepath.Abs(host); err == nil {
			value = absolute + ":" + rest
		}
	}
	return keyError(k, value, k.set(r.vm, value))
}

// optionHint returns the hint for an unknown key; "" if there is none.
func optionHint(name, value string) string {
	if slices.Contains(resourceKeys, name) {
		return fmt.Sprintf("--set %s.%s=%s", sectionService, name, abridged(value))
	}
	var names []string
	for _, k := range Keys {
		names = append(names, k.Name)
	}
	return didYouMean("%s=", name, names)
}
