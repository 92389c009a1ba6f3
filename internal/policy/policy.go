package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// HostName is the name by which a guest connects to the loopback interface of the host.
const HostName = "host.internal"

// Modes of a policy. The values are those of Mode= in .vm files.
const (
	Internet = "internet" // public addresses, and what Allow= adds
	Allow    = "allow"    // only what Allow= names
	None     = "none"     // no network
)

// Policy is what a guest may connect to. Deny beats Allow.
type Policy struct {
	Mode        string
	Allow, Deny []Rule
}

// New returns the policy with the values of Mode=, Allow= and Deny=.
func New(mode string, allow, deny []string) (*Policy, error) {
	p := &Policy{Mode: mode}
	var err error
	if p.Allow, err = ParseRules(allow); err != nil {
		return nil, err
	}
	p.Deny, err = ParseRules(deny)
	return p, err
}

// Request is a connection that a guest wants.
type Request struct {
	Protocol string
	Name     string     // empty if the guest connects to an address
	Address  netip.Addr // zero while a name is not resolved
	Port     uint16
}

// String returns the protocol, the name or else the address, and the port.
func (q Request) String() string {
	host := q.Name
	switch {
	case host == "" && q.Address.Is6():
		host = "[" + q.Address.String() + "]"
	case host == "":
		host = q.Address.String()
	}
	return fmt.Sprintf("%s:%d/%s", host, q.Port, q.Protocol)
}

// Decision is the answer to a Request.
type Decision struct {
	Allowed bool
	Rule    string // the rule that decided; empty if it was the mode
	Reason  string // why the request is denied
}

// Name decides about a name that is not resolved yet, so that a guest cannot cause
// look-ups of names that it may not connect to. If it is allowed, Address decides about the
// address.
func (p *Policy) Name(q Request) Decision {
	if q.Name == HostName {
		return p.Address(q, nil)
	}
	if r := find(p.Deny, func(r Rule) bool { return r.denies(q) && r.matchesName(q.Name) }); r != nil {
		return deniedBy(*r)
	}
	if r := find(p.Allow, func(r Rule) bool { return r.allows(q) && r.matchesName(q.Name) }); r != nil {
		return Decision{Allowed: true, Rule: r.text}
	}
	switch {
	case p.Mode == Allow:
		return Decision{Reason: "the name is not in Allow="}
	case isQUIC(q):
		return quicDenied
	}
	return Decision{Allowed: true}
}

// Address decides about a request whose address is known. own are the prefixes of the
// host's interfaces. A name that is allowed does not make an address allowed that is not
// public: only a rule with a prefix does.
func (p *Policy) Address(q Request, own []netip.Prefix) Decision {
	named := Decision{Allowed: true}
	if q.Name == HostName {
		q.Address = netip.AddrFrom4([4]byte{127, 0, 0, 1})
		return p.host(q)
	}
	if q.Name != "" {
		if named = p.Name(q); !named.Allowed {
			return named
		}
	}
	address := Embedded(q.Address)
	if r := find(p.Deny, func(r Rule) bool { return r.denies(q) && (r.matchesAddress(address) || r.matchesAddress(q.Address)) }); r != nil {
		return deniedBy(*r)
	}
	if never(address) {
		return Decision{Reason: address.String() + " is never allowed"}
	}
	if r := find(p.Allow, func(r Rule) bool { return r.allows(q) && r.matchesAddress(address) }); r != nil && !address.IsLoopback() {
		return Decision{Allowed: true, Rule: r.text}
	}
	switch {
	case !Public(address):
		return Decision{Reason: address.String() + " is not a public address"}
	case slices.ContainsFunc(own, func(o netip.Prefix) bool { return o.Contains(address) }):
		return Decision{Reason: address.String() + " belongs to this machine or its network"}
	case q.Name != "":
		return named
	case p.Mode == Allow:
		return Decision{Reason: "the address is not in Allow="}
	case isQUIC(q):
		return quicDenied
	}
	return Decision{Allowed: true}
}

// host decides about the loopback interface of the host, which only rules with HostName
// open.
func (p *Policy) host(q Request) Decision {
	if r := find(p.Deny, func(r Rule) bool { return r.denies(q) && (r.matchesName(q.Name) || r.matchesAddress(q.Address)) }); r != nil {
		return deniedBy(*r)
	}
	exact := func(r Rule) bool {
		return r.allows(q) && slices.ContainsFunc(r.targets, func(t target) bool { return t.name == HostName })
	}
	if r := find(p.Allow, exact); r != nil {
		return Decision{Allowed: true, Rule: r.text}
	}
	return Decision{Reason: "services of the host are only allowed by Allow=" + HostName + ":PORT"}
}

// AnyPort reports whether a guest may connect to some port of a name, so that the name may
// be looked up.
func (p *Policy) AnyPort(name string) bool {
	named := func(r Rule) bool { return r.matchesName(name) }
	denied := find(p.Deny, func(r Rule) bool { return named(r) && r.port == 0 && r.protocol == "" })
	return denied == nil && (p.Mode == Internet || find(p.Allow, named) != nil)
}

// ByName reports whether the policy distinguishes names, so that what a connection says of
// its name must be checked.
func (p *Policy) ByName() bool {
	return p.Mode == Allow || slices.ContainsFunc(p.Deny, Rule.IsName)
}

var quicDenied = Decision{Reason: "QUIC is denied, so that clients use TCP; to allow it: Allow=NAME:443/udp"}

// isQUIC reports whether a request is HTTP/3. Its names are encrypted.
func isQUIC(q Request) bool { return q.Protocol == UDP && q.Port == 443 }

// allows reports whether port and protocol are those of a rule of Allow=. Without a protocol, a
// rule with a name is for TCP, and one with a prefix for both.
func (r Rule) allows(q Request) bool {
	if r.port != 0 && r.port != q.Port {
		return false
	}
	if r.protocol != "" {
		return r.protocol == q.Protocol
	}
	return q.Protocol == TCP || !r.IsName()
}

// denies reports whether port and protocol are those of a rule of Deny=. Without a protocol,
// it is for both.
func (r Rule) denies(q Request) bool {
	return (r.port == 0 || r.port == q.Port) && (r.protocol == "" || r.protocol == q.Protocol)
}

func find(rules []Rule, matches func(Rule) bool) *Rule {
	if i := slices.IndexFunc(rules, matches); i >= 0 {
		return &rules[i]
	}
	return nil
}

func deniedBy(r Rule) Decision {
	return Decision{Rule: r.text, Reason: "denied by Deny=" + r.text}
}

// Allow returns the rule that would allow a denied request; empty if no rule can, or if
// Deny= would have to change.
func (d Decision) Allow(q Request) string {
	switch {
	case d.Allowed || d.Rule != "" || q.Address.IsValid() && never(Embedded(q.Address)) || q.Address.IsLoopback() && q.Name != HostName:
		return ""
	case q.Name != HostName && q.Address.IsValid(): // a name does not open it
		q.Name = ""
	}
	if q.Protocol == UDP {
		return q.String()
	}
	return strings.TrimSuffix(q.String(), "/tcp")
}
