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

// This file has the options of one run: drop-ins in the runtime directory, which
// the runtime unit removes when the instance is gone. See dropin.Overrides.

// options are those that a verb was given, in their order.
type options []vmfile.Option

// register declares an option for each key that has one, and --set for all.
func (o *options) register(cmd *kingpin.CmdClause) {
	for _, k := range vmfile.Keys {
		if k.Flag == "" {
			continue
		}
		v := &optionValue{list: o, option: vmfile.Option{Flag: "--" + k.Flag, Key: k.Name, Literal: true}}
		flag := cmd.Flag(k.Flag, k.Doc+".").PlaceHolder(k.Value).HintOptions(choices(k.Value)...)
		if k.Value == vmfile.Boolean {
			flag.SetValue(&switchValue{v})
		} else {
			flag.SetValue(v)
		}
	}
	cmd.Flag("set", "Any key of claude-vm.vm(5), as there, or Service.KEY=VALUE of the unit.").PlaceHolder("KEY=VALUE").HintOptions(anyText).
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

// switchValue is one that needs no value to be on, and is off by --no- before it.
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

// overrides are what a start has of its own, beside its request.
type overrides struct {
	settings vm.VM // of this run
	tree     dropin.Tree
	token    string
}

// overridesOf makes the drop-ins of the options; nil without any. It fails if what the
// .vm files say is not in force, for that may be a restriction.
func (v *target) overridesOf(ctx context.Context, o options) (*overrides, error) {
	base, current, err := v.settings(ctx)
	switch {
	case err != nil:
		return nil, err
	case !current:
		return nil, failure.New(failure.Failed, "claude-vm-ctl generate", "the .vm files are not what the user manager has read")
	case base.Refusal != "":
		return nil, failure.New(failure.HostUnable, base.RefusalHint, "%s", base.Refusal)
	case len(o) == 0:
		return nil, nil
	}
	settings, fault := vmfile.Apply(base, o, v.paths)
	if fault != nil {
		return nil, &failure.Error{Status: failure.Usage, Err: fault, Hint: fault.Hint}
	}
	if settings.ForwardAgent && !base.ForwardAgent {
		if _, err := preflight.AgentSocket(); err != nil {
			return nil, err
		}
	}
	n := &overrides{settings: settings, token: rand.Text()}
	if n.tree, err = dropin.Overrides(v.id, settings, base, n.token); err != nil {
		return nil, failure.New(failure.Usage, "claude-vm-ctl edit"+v.here(), "%w", err)
	}
	return n, nil
}

// settings are what the .vm files say about the instance, and whether that is in
// force.
func (v *target) settings(ctx context.Context) (base vm.VM, current bool, err error) {
	set := vmfile.Load(vmfile.SearchPath(v.paths), v.paths)
	mine := vmfile.Set{Defaults: set.Defaults}
	base = set.Defaults
	for _, configured := range set.VMs {
		if configured.WorkDirectory == v.dir {
			base = configured
			mine.VMs = append(mine.VMs, configured)
		}
	}
	tree, _ := dropin.Build(mine, v.paths) // what is refused is in it
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

// setOverrides writes the drop-ins of a start, or none, in place of those that a
// start which was killed has left, and sees to it that the manager knows.
func (v *target) setOverrides(ctx context.Context, n *overrides) error {
	if _, err := dropin.RemoveOverrides(v.paths.RuntimeUnits(), v.id); err != nil {
		return err
	}
	if n != nil {
		// Read anew the units have them without a reload, unless others need them.
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
