// Package unittree is what the generator puts into a directory of units: drop-ins
// and links, no more. Building it touches nothing.
package unittree

import (
	"fmt"
	"io"
	"strings"
	"text/template"

	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/unitfile"
	"github.com/t0mpr1c3/claude-microvm/internal/vm"
	"github.com/t0mpr1c3/claude-microvm/internal/vmfile"
	"github.com/t0mpr1c3/claude-microvm/templates"
)

// Names of the drop-ins; systemd sorts them over all directories.
const (
	defaultsName = "10-defaults.conf"
	vmName       = "50-vm.conf"
	onceName     = "zz-once.conf"
)

// Node is a file or, with a target, a symbolic link below a directory of units.
type Node struct {
	Path   string
	Text   string
	Target string
}

// Tree is what is written, in this order.
type Tree []Node

// Build makes the tree of what the files say. What turns out now not to be
// possible is refused and told.
func Build(set vmfile.Set, env instance.Environment) (Tree, []*unitfile.Error) {
	b := builder{template: templates.DropIn(), done: map[string]bool{}}
	errs := b.add("", defaultsName, set.Defaults, vm.Default())
	base := set.Defaults
	base.Refusal = "" // no VM takes back that all are refused
	for _, v := range set.VMs {
		id, link, err := env.PathID(v.WorkDirectory)
		if err != nil {
			errs = append(errs, &unitfile.Error{File: v.Source[0], Message: err.Error()})
			continue
		}
		v.Long = link != ""
		errs = append(errs, b.add(id, vmName, v, base)...)
	}
	return append(b.tree, b.links...), errs
}

type builder struct {
	template *template.Template
	tree     Tree
	links    Tree
	done     map[string]bool
}

// add adds the drop-ins that make an instance of base one of v; of all
// instances, without an id.
func (b *builder) add(id, name string, v, base vm.VM) []*unitfile.Error {
	if len(v.Source) == 0 {
		return nil
	}
	if v.Refusal != "" {
		v = refused(v, base)
	}
	lines, err := v.Lines(base)
	if err != nil {
		fault := &unitfile.Error{File: v.Source[0], Message: err.Error()}
		if v.Refusal == "" {
			v.Refusal = fault.Error()
			return append([]*unitfile.Error{fault}, b.add(id, name, v, base)...)
		}
		return []*unitfile.Error{fault}
	}
	for unit, unitName := range unitsOf(id) {
		machine := vm.Unit(unit) == vm.Machine
		d := dropin{Sources: v.Source, SourcePath: unitfile.EscapeSpecifiers(v.Source[0]), Lines: lines[unit]}
		if machine {
			d.Unit, d.Service = v.Unit, v.Service
		}
		if len(d.Lines)+len(d.Unit)+len(d.Service) > 0 || machine && v.Refusal == "" && id != "" {
			b.file(unitName+".d/"+name, d)
		}
	}
	for _, l := range v.Links {
		b.link(fmt.Sprintf("%s.%s/%s", l.Target, l.Kind, instance.Unit(id)))
	}
	return nil
}

// refused is a VM that has its refusal and is otherwise as all are.
func refused(v, base vm.VM) vm.VM {
	r := base.Clone()
	r.Refusal, r.Source = v.Refusal, v.Source
	r.Unit, r.Service, r.Links = nil, nil, nil
	return r
}

// dropin is what the template is given.
type dropin struct {
	Sources       []string
	SourcePath    string
	Unit, Service []unitfile.Entry
	Lines         []string
}

func (b *builder) file(path string, d dropin) {
	if b.done[path] { // of two that want the same directory, both refused
		return
	}
	b.done[path] = true
	var text strings.Builder
	if err := b.template.Execute(&text, d); err != nil {
		panic(err) // the template is ours, and a Builder takes everything
	}
	b.tree = append(b.tree, Node{Path: path, Text: text.String()})
}

// link adds one to the template unit, as systemctl enable would make it; where
// that lies is not ours to know, and systemd looks at the name alone.
func (b *builder) link(path string) {
	if !b.done[path] {
		b.done[path] = true
		b.links = append(b.links, Node{Path: path, Target: "../" + instance.Unit("")})
	}
}

// Print writes all as systemctl cat does.
func (t Tree) Print(w io.Writer) error {
	for i, n := range t {
		separator := ""
		if i > 0 {
			separator = "\n"
		}
		text := fmt.Sprintf("%s# %s\n%s", separator, n.Path, n.Text)
		if n.Target != "" {
			text = fmt.Sprintf("%s# %s -> %s\n", separator, n.Path, n.Target)
		}
		if _, err := io.WriteString(w, text); err != nil {
			return err
		}
	}
	return nil
}
