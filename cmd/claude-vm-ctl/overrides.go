package main

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strings"

	"github.com/alecthomas/kingpin/v2"
	"github.com/t0mpr1c3/claude-microvm/internal/dropin"
	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/manager"
	"github.com/t0mpr1c3/claude-microvm/internal/preflight"
	"github.com/t0mpr1c3/claude-microvm/internal/vm"
	"github.com/t0mpr1c3/claude-microvm/internal/vmfile"
)

// This file has the options of one run. They are drop-ins in the runtime unit
// directory, which the runtime unit removes when it stops. See dropin.Overrides.

// options are the options of a verb, in the order of the command line.
type options []vmfile.Option

// register declares an option for each key that has one, and --set for all.
func (o *options) register(cmd *kingpin.CmdClause) {
	for _, k := range vmfile.Keys {
		if k.Flag == "" {
			continue
		}
		v := &optionValue{list: o, option: vmfile.Option{Flag: "--" + k.Flag, Key: k.Name, Literal: true}}
		hints := k.Words
		if hints == nil {
			hints = choices(k.Value)
		}
		flag := cmd.Flag(k.Flag, k.Doc+".").PlaceHolder(k.Value).HintOptions(hints...)
		if k.Value == vmfile.Boolean {
			flag.SetValue(&switchValue{v})
		} else {
			flag.SetValue(v)
		}
	}
	cmd.Flag("set", "Set any key of claude-vm.vm(5), or Service.KEY=VALUE.").PlaceHolder("KEY=VALUE").HintOptions(anyText).
		SetValue(&optionValue{list: o, option: vmfile.Option{Flag: "--set"}})
}

// optionValue adds a flag's values to the list. It is a kingpin.Value.
type optionValue struct {
	list   *options
	option vmfile.Option
}

func (v *optionValue) String() string { return "" }

// IsCumulative allows the flag several times.
func (v *optionValue) IsCumulative() bool { return true }

// switchValue is a boolean option: --NAME is yes, --no-NAME is no.
type switchValue struct{ *optionValue }

func (v *switchValue) IsBoolFlag() bool { return true }

func (v *optionValue) Set(text string) error {
	o := v.option
	o.Value = text
	if o.Key == "" {
		key, value, found := strings.Cut(text, "=")
		if !found {
			return errors.New("--set needs KEY=VALUE, not " + text)
		}
		o.Key, o.Value = key, value
	}
	*v.list = append(*v.list, o)
	return nil
}

// overrides are the options of one start.
type overrides struct {
	settings vm.VM // of this run
	tree     dropin.Tree
	token    string
}

// overridesOf returns the drop-ins of the options; nil without options. It fails if the
// user manager has not read the current .vm files, which may restrict the VM.
func (v *target) overridesOf(ctx context.Context, o options) (*overrides, error) {
	base, current, err := v.settings(ctx)
	switch {
	case err != nil:
		return nil, err
	case !current:
		return nil, failure.New(failure.Failed, "claude-vm-ctl generate", "the .vm files have changed since the user manager read them")
	case base.Refusal != "":
		return nil, failure.New(failure.HostUnable, base.RefusalHint, "%s", base.Refusal)
	case len(o) == 0:
		return nil, nil
	}
	settings, invalid := vmfile.Apply(base, o, v.paths)
	if invalid != nil {
		return nil, &failure.Error{Status: failure.Usage, Err: invalid, Hint: invalid.Hint}
	}
	if settings.ForwardAgent && !base.ForwardAgent {
		if _, err := preflight.AgentSocket(); err != nil {
			return nil, err
		}
	}
	n := &overrides{settings: settings, token: rand.Text()}
	if n.tree, err = dropin.Overrides(v.id, settings, base, n.token); err != nil {
		return nil, failure.New(failure.Usage, "claude-vm-ctl edit"+v.hintArg(), "%w", err)
	}
	return n, nil
}

// settings returns the settings of the instance in the .vm files, and whether the user
// manager has read them.
func (v *target) settings(ctx context.Context) (base vm.VM, current bool, err error) {
	mine, base := v.files()
	tree, _ := dropin.Build(mine, v.paths) // for an invalid file, the tree contains the error
	units, err := v.manager.Brief(ctx, instance.Configured(v.id)...)
	if err != nil {
		return base, false, err
	}
	for _, u := range units {
		if !tree.Current(u.Name, u.DropIns) {
			return base, false, nil
		}
	}
	return base, true, nil
}

// files returns what the .vm files have for the instance: as a set, and its settings.
func (v *target) files() (mine vmfile.Set, base vm.VM) {
	set := vmfile.Load(vmfile.SearchPath(v.paths), v.paths)
	mine, base = vmfile.Set{Defaults: set.Defaults}, set.Defaults
	for _, configured := range set.VMs {
		if configured.WorkDirectory == v.dir {
			base = configured
			mine.VMs = append(mine.VMs, configured)
		}
	}
	return mine, base
}

// ignored returns the errors of .vm files that do not say which directory they are for: it could
// be this one.
func (v *target) ignored() []*failure.Error {
	set := vmfile.Load(vmfile.SearchPath(v.paths), v.paths)
	known := slices.Clone(set.Defaults.Source)
	for _, configured := range set.VMs {
		known = append(known, configured.Source...)
	}
	return slices.DeleteFunc(set.Errors, func(e *failure.Error) bool { return slices.Contains(known, e.File) })
}

// vmFile returns the .vm file of the instance; empty if there is none.
func (v *target) vmFile() string {
	_, c := v.files()
	if c.Name == "" { // the settings of all VMs
		return ""
	}
	return c.Source[0]
}

// setOverrides removes the overrides that a killed start may have left, writes those of this
// start unless n is nil, and makes the manager read the change.
func (v *target) setOverrides(ctx context.Context, n *overrides) error {
	if _, err := dropin.RemoveOverrides(v.paths.RuntimeUnits(), v.id); err != nil {
		return err
	}
	if n != nil {
		// Without a reference, the manager may unload the unit. When it loads the unit
		// again, it reads the drop-ins, and no reload is needed.
		if err := v.manager.Unref(ctx, v.unit()); err != nil {
			return err
		}
		if err := n.tree.Write(v.paths.RuntimeUnits()); err != nil {
			return err
		}
		if err := v.manager.Ref(ctx, v.unit()); err != nil {
			return err
		}
	}
	units, err := v.manager.Brief(ctx, instance.Configured(v.id)...)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(units, func(u manager.Unit) bool { return u.Stale }) {
		return v.manager.Reload(ctx)
	}
	return nil
}
