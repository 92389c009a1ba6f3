package vmfile

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/t0mpr1c3/claude-microvm/internal/policy"
	"github.com/t0mpr1c3/claude-microvm/internal/vm"
)

// This file has the values of [Network].

func addPort(v *vm.VM, word string) error {
	p, err := ParsePort(word)
	if err == nil && !slices.Contains(v.Ports, p) {
		v.Ports = append(v.Ports, p)
	}
	return err
}

// ParsePort parses [ADDRESS:]HOST[:GUEST][/PROTOCOL]. The protocol is tcp or udp.
func ParsePort(word string) (vm.Port, error) {
	p := vm.Port{Protocol: "tcp", Address: "127.0.0.1"}
	text, protocol, found := strings.Cut(word, "/")
	if found {
		if err := choose(&p.Protocol, protocol, "tcp", "udp"); err != nil {
			return p, fmt.Errorf("protocol %q: %w", abridged(protocol), err)
		}
	}
	if strings.HasPrefix(text, "[") {
		inner, rest, found := strings.Cut(text[1:], "]:")
		address, err := netip.ParseAddr(inner)
		if !found || err != nil || !address.Is6() || address.Zone() != "" {
			return p, fmt.Errorf("%q is not [IPV6-ADDRESS]:HOST[:GUEST]", abridged(word))
		}
		p.Address, text = address.String(), rest
	}
	parts := strings.Split(text, ":")
	if strings.Contains(parts[0], ".") {
		address, err := netip.ParseAddr(parts[0])
		if err != nil || !address.Is4() {
			return p, fmt.Errorf("%q is not an IPv4 address", abridged(parts[0]))
		}
		p.Address, parts = parts[0], parts[1:]
	}
	if len(parts) == 1 {
		parts = append(parts, parts[0])
	}
	if len(parts) != 2 {
		return p, fmt.Errorf("%q is not [ADDRESS:]HOST[:GUEST][/udp]", abridged(word))
	}
	for i, target := range []*int{&p.Host, &p.Guest} {
		n, err := strconv.ParseUint(parts[i], 10, 16)
		if err != nil || n == 0 {
			return p, fmt.Errorf("%q is not a port from 1 to 65535", abridged(parts[i]))
		}
		*target = int(n)
	}
	return p, nil
}

// setNetwork sets the mode of the network. Versions before the gateway had the mode user.
func setNetwork(v *vm.VM, value string) error {
	if value == "user" {
		return invalid("use Mode=internet, the default; for services of this machine: Allow=host.internal:PORT", "QEMU's user network is not used any more")
	}
	return choose(&v.Network, value, policy.Internet, policy.Allow, policy.None)
}

// addRule adds a word of Allow= or Deny=.
func addRule(list *[]string, word string) error {
	r, err := policy.ParseRule(word)
	if err != nil {
		if strings.HasPrefix(word, "@") {
			return invalid("claude-vm-ctl network --groups", "%q: %w", abridged(word), err)
		}
		return fmt.Errorf("%q: %w", abridged(word), err)
	}
	if !slices.Contains(*list, r.String()) {
		*list = append(*list, r.String())
	}
	return nil
}

// addInjectCommand parses NAME=COMMAND.
func addInjectCommand(v *vm.VM, word string) error {
	name, command, found := strings.Cut(word, "=")
	if !found || !IsVariable(name) || strings.TrimSpace(command) == "" {
		return fmt.Errorf("%q is not NAME=COMMAND, as one word in quotes", abridged(word))
	}
	v.Commands = slices.DeleteFunc(v.Commands, func(other string) bool { return strings.HasPrefix(other, name+"=") })
	v.Commands = append(v.Commands, word)
	return nil
}

// addInjection parses NAME[:HOST[:SCHEME]].
func addInjection(v *vm.VM, word string) error {
	parts := strings.Split(word, ":")
	i := vm.Injection{Name: parts[0]}
	switch {
	case !IsVariable(i.Name) || len(i.Name) > 255: // NAME_MAX: the credential becomes a file
		return fmt.Errorf("%q is not a valid variable name", abridged(i.Name))
	case len(parts) > 3:
		return fmt.Errorf("%q is not NAME[:HOST[:SCHEME]]", abridged(word))
	case len(parts) == 1 && !slices.Contains(claudeSecrets, i.Name):
		return invalid("Inject="+i.Name+":HOST, such as api.github.com", "needs the host that gets the secret")
	}
	if len(parts) > 1 {
		var err error
		if i.Host, err = policy.ParseName(parts[1]); err != nil {
			return err
		}
		i.Scheme = vm.SchemeBearer
	}
	if len(parts) == 3 {
		i.Scheme = parts[2]
		if strings.Trim(strings.ToLower(i.Scheme), "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || i.Scheme == "" {
			return fmt.Errorf("%q is neither bearer, basic nor the name of a header", abridged(i.Scheme))
		}
	}
	for _, other := range v.Inject {
		if i.Host != "" && other.Host == i.Host {
			return fmt.Errorf("%s already gets %s", i.Host, other.Name)
		}
	}
	if !slices.Contains(v.Inject, i) {
		v.Inject = append(v.Inject, i)
	}
	return nil
}

// claudeSecrets are the credentials that need no host: they are for the API of Claude Code.
var claudeSecrets = []string{"ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"}

// setProxy checks the URL of a proxy. A password in it is no secret on this machine: Proxy= is
// in a unit file.
func setProxy(v *vm.VM, value string) error {
	u, err := url.Parse(value)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return errors.New("not a URL such as http://proxy.example.com:3128")
	}
	v.Proxy = value
	return nil
}
