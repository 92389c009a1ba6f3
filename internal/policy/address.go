package policy

import "net/netip"

// special are the prefixes that are not public: those of the IANA registries of special-purpose
// addresses that are not globally reachable, and those that lead to other addresses.
var special = prefixes(
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
	"192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24",
	"203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
	// Within 2000::/3: Teredo and others, documentation, 6to4.
	"2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
)

var (
	global6 = netip.MustParsePrefix("2000::/3")     // all global unicast addresses
	nat64   = netip.MustParsePrefix("64:ff9b::/96") // RFC 6052: an IPv4 address in the last 32 bits
	nothing = prefixes("0.0.0.0/8", "224.0.0.0/4", "240.0.0.0/4", "169.254.0.0/16", "fe80::/10", "ff00::/8", "::/128",
		// Metadata services at other addresses: Amazon EC2, Google Cloud, Azure, Alibaba, Oracle.
		"fd00:ec2::/32", "fd20:ce::/32", "168.63.129.16/32", "100.100.100.200/32", "192.0.0.192/32")
)

func prefixes(texts ...string) []netip.Prefix {
	var all []netip.Prefix
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

// Embedded returns the IPv4 address in a mapped or NAT64 address, or the address itself.
func Embedded(a netip.Addr) netip.Addr {
	a = a.Unmap()
	if nat64.Contains(a) {
		b := a.As16()
		return netip.AddrFrom4([4]byte(b[12:]))
	}
	return a
}

// Public reports whether an address is reachable from everywhere on the Internet.
func Public(a netip.Addr) bool {
	if a.Is6() && !global6.Contains(a) {
		return false
	}
	return a.IsValid() && !contains(special, a)
}

// never reports whether no rule opens an address: multicast, broadcast, unspecified and
// link-local addresses, and metadata services of clouds, which have secrets.
func never(a netip.Addr) bool { return !a.IsValid() || contains(nothing, a) }

func contains(prefixes []netip.Prefix, a netip.Addr) bool {
	for _, p := range prefixes {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
