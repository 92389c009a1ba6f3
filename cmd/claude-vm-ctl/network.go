package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kingpin/v2"
	"github.com/t0mpr1c3/claude-microvm/internal/control"
	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/manager"
	"github.com/t0mpr1c3/claude-microvm/internal/policy"
	"github.com/t0mpr1c3/claude-microvm/internal/vmfile"
	"golang.org/x/sys/unix"
)

type networkVerb struct {
	words                      []string
	save, json, follow, groups bool
}

// networkActions are the actions of the verb; each needs further words.
var networkActions = []string{"allow", "deny", "reset", "publish", "unpublish"}

func (n *networkVerb) register(app *kingpin.Application) string {
	cmd := app.Command("network", "Show what a VM may connect to and what was denied, or change it while the VM runs.")
	describe(cmd, "", "network", "network allow example.com '*.example.org:443'", "network ~/src/web publish 8080:80 --save", "network -f --json")
	cmd.Arg("dir", "The project's directory, its id or its .vm file's name; then allow, deny or reset and rules, or publish or unpublish and ports.").
		HintAction(networkHints).StringsVar(&n.words)
	cmd.Flag("save", "Also save the change in a drop-in of the .vm file.").BoolVar(&n.save)
	cmd.Flag("follow", "Show the decisions from now on, until Ctrl-C.").Short('f').BoolVar(&n.follow)
	cmd.Flag("groups", "List the groups that rules can use.").BoolVar(&n.groups)
	cmd.Flag("json", "Print JSON, for scripts.").BoolVar(&n.json)
	return cmd.FullCommand()
}

// networkHints completes the first word: an instance or an action.
func networkHints() []string { return append(instanceHints(), networkActions...) }

// split separates the instance, which may come first, from the action and its words.
func (n *networkVerb) split() (dir, action string, words []string, err error) {
	dir, words = ".", n.words
	if len(words) > 0 && !slices.Contains(networkActions, words[0]) {
		dir, words = words[0], words[1:]
	}
	if len(words) == 0 {
		if n.save {
			return "", "", nil, usage(errors.New("--save needs a change"))
		}
		return dir, "", nil, nil
	}
	action, words = words[0], words[1:]
	switch {
	case !slices.Contains(networkActions, action):
		return "", "", nil, usage(fmt.Errorf("unknown action %s; use %s", action, strings.Join(networkActions, ", ")))
	case len(words) == 0:
		return "", "", nil, usage(fmt.Errorf("%s needs a rule or a port", action))
	case n.follow:
		return "", "", nil, usage(errors.New("--follow takes no action"))
	case n.save && (action == "reset" || action == "unpublish"):
		return "", "", nil, failure.New(failure.Usage, "claude-vm-ctl edit", "--save cannot be used with %s", action)
	}
	for _, word := range words {
		if strings.HasSuffix(action, "publish") {
			_, err = vmfile.ParsePort(word)
		} else {
			_, err = policy.ParseRule(word)
		}
		if err != nil && strings.HasPrefix(word, "@") {
			return "", "", nil, failure.New(failure.Usage, "claude-vm-ctl network --groups", "%s: %w", word, err)
		}
		if err != nil {
			return "", "", nil, usage(fmt.Errorf("%s: %w", word, err))
		}
	}
	return dir, action, words, nil
}

func (n *networkVerb) run(ctx context.Context, out *output) (int, error) {
	if n.groups {
		return 0, n.printGroups(out)
	}
	dir, action, words, err := n.split()
	if err != nil {
		return 0, err
	}
	v, u, err := open(ctx, dir)
	if err != nil {
		return 0, err
	}
	defer v.manager.Close()
	switch {
	case action != "":
		return 0, n.change(ctx, out, v, u, action, words)
	case n.follow:
		return 0, n.showEvents(ctx, out, v)
	}
	if !u.Running() {
		if !n.json {
			out.note("no VM is running on %s; these are its settings", v.dir)
		}
		return failure.NoInstance, n.show(out, v, v.configuredNetwork())
	}
	s, err := v.network(ctx, nil)
	if err != nil {
		return 0, err
	}
	return 0, n.show(out, v, s)
}

// network asks the gateway of a running VM for its status, after a change unless it is nil.
func (v *target) network(ctx context.Context, change *control.Change) (control.Status, error) {
	s, err := control.Ask(ctx, v.paths.GatewayDirectory(v.id), change)
	return s, v.gatewayError(err)
}

// gatewayError adds to an error why there is no gateway.
func (v *target) gatewayError(err error) error {
	if !errors.Is(err, os.ErrNotExist) && !errors.Is(err, unix.ECONNREFUSED) {
		return err
	}
	r, recordErr := v.paths.ReadRecord(v.id)
	switch {
	case recordErr != nil:
		return v.noInstance("claude-vm-ctl start" + v.hintArg())
	case r.Settings.Network == policy.None:
		return failure.New(failure.Failed, "claude-vm-ctl edit"+v.hintArg(), "the VM on %s has no network (Mode=none)", v.dir)
	}
	gateway := failure.Command(instance.Gateway.Unit(v.id))
	return failure.New(failure.Failed, "systemctl --user restart "+gateway, "the gateway of the VM on %s does not run; journalctl --user -u %s shows why", v.dir, gateway)
}

// change changes the network of a running VM, and saves the change if asked to.
func (n *networkVerb) change(ctx context.Context, out *output, v *target, u manager.Unit, action string, words []string) error {
	if !u.Running() && !n.save {
		return v.noInstance("claude-vm-ctl network" + v.hintArg() + " " + action + " --save " + failure.Command(words...))
	}
	var c control.Change
	list := map[string]*[]string{
		"allow": &c.Allow, "deny": &c.Deny, "reset": &c.Reset, "publish": &c.Publish, "unpublish": &c.Unpublish,
	}[action]
	*list = words
	var s control.Status
	if u.Running() {
		var err error
		s, err = v.network(ctx, &c)
		if err != nil && failure.HintOf(err) == "" {
			err = failure.New(failure.Failed, "claude-vm-ctl network"+v.hintArg(), "%w", err)
		}
		if err != nil {
			return err
		}
	}
	if n.save {
		if err := v.saveNetwork(ctx, out, map[string]string{"allow": "Allow", "deny": "Deny", "publish": "PublishPort"}[action], words); err != nil {
			return err
		}
	}
	if n.json && u.Running() {
		return json.NewEncoder(out.stdout).Encode(s)
	}
	return nil
}
