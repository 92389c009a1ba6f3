package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/t0mpr1c3/claude-microvm/internal/control"
	"github.com/t0mpr1c3/claude-microvm/internal/policy"
	"github.com/t0mpr1c3/claude-microvm/internal/vm"
	"github.com/t0mpr1c3/claude-microvm/internal/vmfile"
)

// live are the changes that claude-vm-ctl has made to a running VM. They are in a file, so
// that a restart of the gateway keeps them.
type live struct {
	Allow []string  `json:"allow,omitempty"`
	Deny  []string  `json:"deny,omitempty"`
	Ports []vm.Port `json:"ports,omitempty"`
	// Closed are published ports of the settings that are closed now.
	Closed []vm.Port `json:"closed,omitempty"`
}

// policy returns the policy of the settings with the changes.
func (l *live) policy(settings vm.VM) (*policy.Policy, error) {
	return policy.New(settings.Network, slices.Concat(settings.Allow, l.Allow), slices.Concat(settings.Deny, l.Deny))
}

// ports returns the ports that are published; the value is whether it is a live one.
func (l *live) ports(settings vm.VM) map[vm.Port]bool {
	ports := map[vm.Port]bool{}
	for _, p := range settings.Ports {
		if !slices.Contains(l.Closed, p) {
			ports[p] = false
		}
	}
	for _, p := range l.Ports {
		ports[p] = true
	}
	return ports
}

func (g *Gateway) livePath() string { return filepath.Join(g.directory, "live.json") }

func (g *Gateway) readLive() error {
	text, err := os.ReadFile(g.livePath())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(text, &g.live)
}

func (g *Gateway) writeLive(l live) error {
	text, err := json.Marshal(l)
	if err != nil {
		return err
	}
	if err := os.WriteFile(g.livePath()+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(g.livePath()+".new", g.livePath())
}

// Change applies all of a change, or returns an error and changes nothing.
func (g *Gateway) Change(c control.Change) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	old := g.force.Load()
	next := live{slices.Clone(g.live.Allow), slices.Clone(g.live.Deny), slices.Clone(g.live.Ports), slices.Clone(g.live.Closed)}
	if err := next.rules(c, old.settings); err != nil {
		return err
	}
	changed, err := next.policy(old.settings)
	if err != nil {
		return err
	}
	opened, closed, err := next.publish(c, old.settings, g.ports)
	if err != nil {
		return err
	}
	if err := g.publishAll(opened); err != nil {
		return err
	}
	if err := g.writeLive(next); err != nil {
		for _, p := range opened {
			g.unpublish(p)
		}
		return fmt.Errorf("cannot keep the change: %w", err)
	}
	for _, p := range closed {
		g.unpublish(p)
	}
	g.live = next
	g.asks = slices.DeleteFunc(g.asks, func(a control.Asked) bool {
		return slices.Contains(c.Allow, a.Rule) || slices.Contains(c.Deny, a.Rule)
	})
	g.enforce(&force{old.settings, changed, old.outside, old.inject})
	return nil
}

// rules changes the rules.
func (l *live) rules(c control.Change, settings vm.VM) error {
	drop := func(list []string, rule string) []string {
		return slices.DeleteFunc(list, func(other string) bool { return other == rule })
	}
	for _, rule := range c.Reset {
		if !slices.Contains(l.Allow, rule) && !slices.Contains(l.Deny, rule) {
			return fmt.Errorf("%s is not a rule that was added to the running VM", rule)
		}
		l.Allow, l.Deny = drop(l.Allow, rule), drop(l.Deny, rule)
	}
	for _, rule := range c.Allow {
		if slices.Contains(settings.Deny, rule) {
			return fmt.Errorf("%s is denied by Deny=%s in the VM's settings, which has priority", rule, rule)
		}
		l.Deny = drop(l.Deny, rule)
		if !slices.Contains(l.Allow, rule) && !slices.Contains(settings.Allow, rule) {
			l.Allow = append(l.Allow, rule)
		}
	}
	for _, rule := range c.Deny {
		l.Allow = drop(l.Allow, rule)
		if !slices.Contains(l.Deny, rule) && !slices.Contains(settings.Deny, rule) {
			l.Deny = append(l.Deny, rule)
		}
	}
	if n := len(strings.Join(slices.Concat(l.Allow, l.Deny), "")); n > 64<<10 {
		return errors.New("too many rules")
	}
	return nil
}

// publish changes the ports, and returns those to open and to close. open are those that are
// open now: one that could not be opened again after a restart can be published again.
func (l *live) publish(c control.Change, settings vm.VM, open map[vm.Port]io.Closer) (opened, closed []vm.Port, err error) {
	before := l.ports(settings)
	for _, text := range c.Publish {
		p, err := vmfile.ParsePort(text)
		if err != nil {
			return nil, nil, err
		}
		if open[p] != nil || slices.Contains(opened, p) {
			continue
		}
		opened = append(opened, p)
		if _, found := before[p]; found {
			continue
		}
		if i := slices.Index(l.Closed, p); i >= 0 {
			l.Closed = slices.Delete(l.Closed, i, i+1)
		} else {
			l.Ports = append(l.Ports, p)
		}
	}
	for _, text := range c.Unpublish {
		wanted, err := vmfile.ParsePort(text)
		if err != nil {
			return nil, nil, err
		}
		found := false
		for p, isLive := range before {
			// Without the guest's port, the host's is enough.
			if p != wanted && (p.Address != wanted.Address || p.Host != wanted.Host || p.Protocol != wanted.Protocol || wanted.Guest != wanted.Host) {
				continue
			}
			found = true
			closed = append(closed, p)
			if isLive {
				l.Ports = slices.DeleteFunc(l.Ports, func(other vm.Port) bool { return other == p })
			} else {
				l.Closed = append(l.Closed, p)
			}
		}
		if !found {
			return nil, nil, fmt.Errorf("%s is not published", text)
		}
	}
	return opened, closed, nil
}

// Reload uses another configuration. The changes of the running VM stay. The ports are not
// changed: they belong to the start of the VM.
func (g *Gateway) Reload(c Config) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	c.Settings.Ports = g.force.Load().settings.Ports
	f, err := g.newForce(c)
	if err != nil {
		return err
	}
	g.enforce(f)
	return nil
}

// enforce replaces what is in force, and closes connections that it denies. The caller holds
// g.mu.
func (g *Gateway) enforce(f *force) {
	g.force.Store(f)
	for open := range g.flows {
		if !g.judge(open.request).Allowed {
			go open.close()
		}
	}
}
