// Package dropin is what the generator puts into a directory of units: drop-ins
// and links, no more. Building it touches nothing.
package dropin

import (
	"fmt"
	"io"
	"strings"
	"text/template"

	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/parallel"
	"github.com/t0mpr1c3/claude-microvm/internal/unitfile"
	"github.com/t0mpr1c3/claude-microvm/internal/vm"
	"github.com/t0mpr1c3/claude-microvm/internal/vmfile"
	"github.com/t0mpr1c3/claude-microvm/templates"
)

// Names of the drop-ins; systemd sorts them over all directories.
const (
	defaultsName  = "10-defaults.conf"
	vmName        = "50-vm.conf"
	overridesName = "zz-overrides.conf"
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
func Build(set vmfile.Set, paths instance.Paths) (Tree, []*failure.Error) {
	template := templates.DropIn()
	all := set.Defaults
	all.Refusal, all.RefusalHint = "", "" // no VM takes back that all are refused
	base := all.Base()
	parts := make([]part, 1+len(set.VMs))
	parts[0] = newPart(template, "", defaultsName, set.Defaults, vm.Default().Base())
	parallel.Do(len(set.VMs), func(i int) {
		v := set.VMs[i]
		id, link, err := paths.PathID(v.WorkDirectory)
		if err != nil {
			parts[1+i].errs = []*failure.Error{{File: v.Source[0], Err: err}}
			return
		}
		v.Long = link != ""
		parts[1+i] = newPart(template, id, vmName, v, base)
	})
	// Sizes as they may be, or growing costs 3 % of user time with 1000 files.
	t, links := make(Tree, 0, 2*len(parts)), make(Tree, 0, len(parts))
	var errs []*failure.Error
	done := make(map[string]bool, 2*len(parts))
	for _, p := range parts {
		errs = append(errs, p.errs...)
		for _, n := range p.nodes {
			switch {
			case done[n.Path]: // of two that want the same directory, both refused
			case n.Target != "":
				links = append(links, n)
			default:
				t = append(t, n)
			}
			done[n.Path] = true
		}
	}
	return append(t, links...), errs
}

// part is what one VM adds to the tree.
type part struct {
	nodes Tree
	errs  []*failure.Error
}

// newPart has the drop-ins that make an instance of base one of v; of all
// instances, without an id.
func newPart(template *template.Template, id, name string, v vm.VM, base vm.Base) part {
	if len(v.Source) == 0 {
		return part{}
	}
	if v.Refusal != "" {
		v = base.Refused(v)
	}
	lines, err := base.Lines(v)
	if err != nil {
		fault := &failure.Error{File: v.Source[0], Err: err}
		var p part
		if v.Refusal == "" {
			v.Refusal, v.RefusalHint = fault.Error(), vmfile.FixCommand(fault.File)
			p = newPart(template, id, name, v, base)
		}
		p.errs = append(p.errs, fault)
		return p
	}
	var p part
	for _, unit := range instance.Parts {
		if unit.Settings == 0 {
			continue
		}
		var passedUnit, passedService []unitfile.Entry
		own := lines[unit.Settings]
		needed := len(own) > 0
		if unit.Settings == vm.Machine {
			passedUnit, passedService = v.Unit, v.Service
			needed = needed || len(v.Unit)+len(v.Service) > 0 || v.Refusal == "" && id != ""
		}
		if needed {
			p.nodes = append(p.nodes, dropin{v.Source, own, passedUnit, passedService}.node(template, unit.Unit(id)+".d/"+name))
		}
	}
	// As systemctl enable would make them, to the template; where that lies is not
	// ours to know, and systemd looks at the name alone.
	for _, l := range v.Links {
		path := l.Target + "." + l.Kind + "/" + instance.VM.Unit(id)
		p.nodes = append(p.nodes, Node{Path: path, Target: "../" + instance.VM.Unit("")})
	}
	return p
}

// dropin is what the template is given.
type dropin struct {
	Sources       []string // none for the options of one run
	Lines         []string // of [Service], before what is passed through
	Unit, Service []unitfile.Entry
}

// SourcePath is the file itself, without its drop-ins.
func (d dropin) SourcePath() string { return unitfile.EscapeSpecifiers(d.Sources[0]) }

func (d dropin) node(template *template.Template, path string) Node {
	var text strings.Builder
	text.Grow(512) // one allocation for most, not seven
	if err := template.Execute(&text, d); err != nil {
		panic(err) // the template is ours, and a Builder takes everything
	}
	return Node{Path: path, Text: text.String()}
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
