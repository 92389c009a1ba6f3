// Package policy decides to which names and addresses a guest may connect. It does no I/O.
package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Protocols of rules and requests.
const (
	TCP = "tcp"
	UDP = "udp"
)

// Rule is one word of Allow= or Deny=.
type Rule struct {
	text     string
	targets  []target // several if the rule is a group
	port     uint16   // 0 for all
	protocol string   // empty if the rule has none
}

// target is a name, all names below a name, or a prefix.
type target struct {
	name   string // without the final dot
	suffix string // starts with a dot
	any    bool   // each name
	prefix netip.Prefix
}

// String returns the rule as it was written.
func (r Rule) String() string { return r.text }

// ParseRule parses NAME, *.NAME, *, ADDRESS, PREFIX or @GROUP, each with an optional
// :PORT[/PROTOCOL]. An IPv6 address or prefix with a port must be in brackets.
func ParseRule(text string) (Rule, error) {
	r := Rule{text: text}
	if strings.Contains(text, "://") {
		return Rule{}, errors.New("is a URL; only its host name can be allowed or denied")
	}
	rest, err := r.cutPort(text)
	if err != nil {
		return Rule{}, err
	}
	words := []string{rest}
	if strings.HasPrefix(rest, "@") {
		g := findGroup(rest)
		if g == nil {
			return Rule{}, fmt.Errorf("unknown group %s", rest)
		}
		words = g.Names
	}
	for _, word := range words {
		t, err := parseTarget(word)
		if err != nil {
			return Rule{}, err
		}
		r.targets = append(r.targets, t)
	}
	return r, nil
}

// ParseRules parses a list of rules.
func ParseRules(texts []string) ([]Rule, error) {
	var rules []Rule
	for _, text := range texts {
		r, err := ParseRule(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", text, err)
		}
		rules = append(rules, r)
	}
	return rules, nil
}

// cutPort sets the port and protocol of r and returns the rest of text, without brackets.
func (r *Rule) cutPort(text string) (rest string, err error) {
	rest, protocol, found := text, "", false
	if strings.HasPrefix(text, "[") {
		inner, after, closed := strings.Cut(text[1:], "]")
		if !closed || after != "" && after[0] != ':' {
			return "", errors.New("needs [ADDRESS]:PORT")
		}
		if after == "" {
			return inner, nil
		}
		rest, text = inner, after[1:]
	} else {
		// More than one colon is an IPv6 address without a port.
		if strings.Count(text, ":") != 1 {
			return text, nil
		}
		rest, text, _ = strings.Cut(text, ":")
	}
	if text, protocol, found = strings.Cut(text, "/"); found && protocol != TCP && protocol != UDP {
		return "", fmt.Errorf("unknown protocol %q; use tcp or udp", protocol)
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 {
		return "", fmt.Errorf("invalid port %q", text)
	}
	r.port, r.protocol = uint16(port), protocol
	return rest, nil
}

func parseTarget(text string) (target, error) {
	if text == "*" {
		return target{any: true}, nil
	}
	if address, err := netip.ParseAddr(text); err == nil {
		if address.Zone() != "" {
			return target{}, errors.New("an address with a zone")
		}
		address = address.Unmap()
		return target{prefix: netip.PrefixFrom(address, address.BitLen())}, nil
	}
	if strings.Contains(text, "/") {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return target{}, fmt.Errorf("%s is no prefix such as 192.168.1.0/24", text)
		}
		if prefix != prefix.Masked() {
			return target{}, fmt.Errorf("%s has bits behind the prefix; use %s", text, prefix.Masked())
		}
		return target{prefix: prefix}, nil
	}
	name, wild := strings.CutPrefix(text, "*.")
	name, err := ParseName(name)
	switch {
	case err != nil:
		return target{}, err
	case wild:
		return target{suffix: "." + name}, nil
	}
	return target{name: name}, nil
}

// ParseName returns a host name in lower case and without its final dot.
func ParseName(text string) (string, error) {
	name := strings.ToLower(strings.TrimSuffix(text, "."))
	if name == "" || len(name) > 253 {
		return "", fmt.Errorf("%q is no host name", text)
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return "", fmt.Errorf("%q is no host name", text)
		}
	}
	// A name such as 127.1 or 0x7f.1 is an address to inet_aton(3).
	last := name[strings.LastIndexByte(name, '.')+1:]
	if strings.Trim(last, "0123456789") == "" || strings.HasPrefix(last, "0x") && strings.Trim(last[2:], "0123456789abcdef") == "" {
		return "", fmt.Errorf("%q is no host name", text)
	}
	return name, nil
}

// IsName reports whether the rule has a name, not an address.
func (r Rule) IsName() bool { return len(r.targets) > 0 && !r.targets[0].prefix.IsValid() }

// matchesName reports whether the rule matches a name, whatever the port.
func (r Rule) matchesName(name string) bool {
	for _, t := range r.targets {
		below := t.suffix != "" && strings.HasSuffix(name, t.suffix)
		if name != "" && (t.any || t.name == name || below) {
			return true
		}
	}
	return false
}

// matchesAddress reports whether the rule is a prefix that contains an address, whatever
// the port.
func (r Rule) matchesAddress(address netip.Addr) bool {
	for _, t := range r.targets {
		if t.prefix.IsValid() && t.prefix.Contains(address.Unmap()) {
			return true
		}
	}
	return false
}
