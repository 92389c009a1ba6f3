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

// Option is a setting of one run, from a command line.
type Option struct {
	// Flag is what the person wrote, for messages: --memory, for example.
	Flag string
	// Key is that of the table, or SECTION.KEY, which [Unit] and [Service] need.
	Key   string
	Value string
	// Literal takes the value as one word: no quotes, no specifiers. The shell
	// has seen to both.
	Literal bool
}

// Apply gives a VM that is v but for the options.
func Apply(v vm.VM, options []Option, p instance.Paths) (vm.VM, *failure.Error) {
	v = v.Clone()
	r := &reading{vm: &v, specifiers: HostSpecifiers(p), where: map[string]failure.Error{}}
	for _, o := range options {
		if err := r.option(o); err != nil {
			err.File = o.Flag
			return v, err
		}
	}
	if key, err := v.Validate(); err != nil {
		at := r.where[key]
		if at.File == "" { // of the file alone, and told when that was read
			at.File = "the options"
		}
		return v, &failure.Error{File: at.File, Err: err}
	}
	return v, nil
}

func (r *reading) option(o Option) *failure.Error {
	section, name, found := strings.Cut(o.Key, ".")
	if !found {
		section, name = "", o.Key
	}
	switch {
	case !utf8.ValidString(o.Value) || strings.IndexByte(o.Value, 0) >= 0:
		return &failure.Error{Err: fmt.Errorf("%s=%q is not a text", name, o.Value)}
	case name == "WorkDirectory", section == sectionInstall:
		return &failure.Error{Err: fmt.Errorf("%s= is not to be changed for one run", name)}
	case section == sectionUnit, section == sectionService:
		want := unitfile.Entry{Section: section, Key: name, Value: strings.TrimSpace(o.Value), Line: 2}
		file, errs := unitfile.Parse("", []byte("["+section+"]\n"+name+"="+o.Value+"\n"))
		if len(errs) > 0 || len(file.Entries) != 1 || file.Entries[0] != want {
			return &failure.Error{Err: fmt.Errorf("%s=%s is no line of a unit", name, abridged(o.Value))}
		}
		return r.assign(want)
	}
	k := findKey(section, name)
	if k == nil {
		return &failure.Error{Err: fmt.Errorf("unknown key %s=", abridged(o.Key)), Hint: optionHint(name, o.Value)}
	}
	r.where[k.Name] = failure.Error{File: o.Flag}
	switch {
	case !o.Literal:
		return r.set(k, o.Value)
	case o.Value == "": // a shell's unset variable, perhaps
		return &failure.Error{Err: fmt.Errorf("%s= without a value", k.Name), Hint: fmt.Sprintf("--set %s= if it is to be the default, or an empty list", k.Name)}
	}
	return r.setLiteral(k, o.Value)
}

// setLiteral gives a key one word, or all of its value. A host's path may be as
// seen from where the person stands.
func (r *reading) setLiteral(k *Key, value string) *failure.Error {
	if host, rest, found := strings.Cut(value, ":"); k.Name == "Mount" && found && host != "" {
		if absolute, err := filepath.Abs(host); err == nil {
			value = absolute + ":" + rest
		}
	}
	return fault(k, value, k.set(r.vm, value))
}

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
