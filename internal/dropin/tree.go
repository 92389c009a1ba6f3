// Package dropin builds and writes what the generator adds to a unit directory:
// drop-ins and symbolic links. Build does no I/O.
package dropin

import (
	"fmt"
	"io"

	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/parallel"
	"github.com/t0mpr1c3/claude-microvm/internal/unitfile"
	"github.com/t0mpr1c3/claude-microvm/internal/vm"
	"github.com/t0mpr1c3/claude-microvm/internal/vmfile"
	"github.com/t0mpr1c3/claude-microvm/templates"
)

// Names of the drop-ins. systemd reads the drop-ins of a unit in the order of their
// names, in whichever directory they are.
const (
	defaultsName  = "10-defaults.conf"
	vmName        = "50-vm.conf"
	overridesName = "zz-overrides.conf"
)

// Node is a file or, if it has a target, a symbolic link in a unit directory.
type Node struct {
	Path   string
	Text   string
	Target string
}

// Tree lists the files and links to write, in this order.
type Tree []Node

// Build converts set to drop-ins and links. VMs whose settings cannot be converted are
// refused, and the reasons are returned.
func Build(set vmfile.Set, paths instance.Paths) (Tree, []*failure.Error) {
	all := set.Defaults
	// The drop-in of a VM must not reset a refusal in the drop-in for all VMs.
	all.Refusal, all.RefusalHint = "", ""
	base := all.Base()
	results := make([]result, 1+len(set.VMs))
	defaults := vm.Default()
	results[0] = newResult("", defaultsName, &set.Defaults, defaults.Base())
	parallel.Do(len(set.VMs), func(i int) {
		v := &set.VMs[i]
		id, link, err := paths.PathID(v.WorkDirectory)
		if err != nil {
			results[1+i].errs = []*failure.Error{{File: v.Source[0], Err: err}}
			return
		}
		if link != "" {
			long := *v
			long.Long = true
			v = &long
		}
		results[1+i] = newResult(id, vmName, v, base)
	})
	total := 0
	for _, r := range results {
		total += len(r.nodes)
	}
	t, links := make(Tree, 0, total), make(Tree, 0, len(results))
	var errs []*failure.Error
	refused := map[string]bool{}
	for i, r := range results {
		errs = append(errs, r.errs...)
		if i > 0 && set.VMs[i-1].Refusal != "" {
			// Refused VMs can have the same work directory.
			dir := set.VMs[i-1].WorkDirectory
			if refused[dir] {
				continue
			}
			refused[dir] = true
		}
		for _, n := range r.nodes {
			if n.Target != "" {
				links = append(links, n)
			} else {
				t = append(t, n)
			}
		}
	}
	return append(t, links...), errs
}

// result is what newResult returns: the drop-ins and links of one VM, and the errors in its
// settings.
type result struct {
	nodes Tree
	errs  []*failure.Error
}

// newResult returns the drop-ins and links with which an instance gets the settings of v
// instead of base. An empty id means all instances: the drop-ins are for the template units.
// If the settings cannot be written, the drop-ins refuse all starts, and errs has the reason.
func newResult(id, name string, v *vm.VM, base *vm.Base) result {
	if len(v.Source) == 0 {
		return result{}
	}
	if v.Refusal != "" {
		refused := base.Refused(v)
		v = &refused
	}
	lines, err := base.Lines(v)
	if err != nil {
		fileError := &failure.Error{File: v.Source[0], Err: err}
		var r result
		if v.Refusal == "" {
			refused := *v
			refused.Refusal, refused.RefusalHint = fileError.Error(), vmfile.FixCommand(fileError.File)
			r = newResult(id, name, &refused, base)
		}
		r.errs = append(r.errs, fileError)
		return r
	}
	r := result{nodes: make(Tree, 0, 3+len(v.Links))} // of three units, see vm.Unit
	for _, part := range instance.Parts {
		if part.Settings == 0 {
			continue
		}
		var passedUnit, passedService []unitfile.Entry
		own := lines[part.Settings]
		needed := len(own) > 0
		if part.Settings == vm.Machine {
			passedUnit, passedService = v.Unit, v.Service
			// The VM's unit always has a drop-in, which shows where the instance comes from.
			needed = needed || len(v.Unit)+len(v.Service) > 0 || v.Refusal == "" && id != ""
		}
		if needed {
			r.nodes = append(r.nodes, Node{Path: part.Unit(id) + ".d/" + name, Text: dropInText(v.Source, own, passedUnit, passedService)})
		}
	}
	// Links like those of systemctl enable. The target need not exist: the directory of
	// the template is unknown here, and systemd only uses the name of the link.
	for _, l := range v.Links {
		path := l.Target + "." + l.Kind + "/" + instance.VM.Unit(id)
		r.nodes = append(r.nodes, Node{Path: path, Target: "../" + instance.VM.Unit("")})
	}
	return r
}

// dropInText returns the text of a drop-in with these lines of [Service], and the lines of [Unit]
// and [Service] that are copied from files. Without sources, it is an override.
func dropInText(sources, lines []string, unit, service []unitfile.Entry) string {
	values := map[string][]string{"unit": assignments(nil, unit), "service": assignments(lines, service)}
	if len(sources) == 0 {
		return templates.Overrides.Expand(values)
	}
	values["source"] = sources
	values["path"] = []string{unitfile.EscapeSpecifiers(sources[0])} // without its drop-ins
	return templates.DropIn.Expand(values)
}

// assignments appends entries to lines.
func assignments(lines []string, entries []unitfile.Entry) []string {
	for _, e := range entries {
		lines = append(lines, e.Key+"="+e.Value)
	}
	return lines
}

// Print writes all files and links to w in the format of systemctl cat.
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
