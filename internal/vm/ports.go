package vm

import (
	"cmp"
	"strconv"
	"strings"
)

// PublishedPorts reads the ports off NETWORK=, where they may also be of somebody's
// own drop-in. What QEMU would not take is left out.
func PublishedPorts(network string) []Port {
	var ports []Port
	for _, option := range strings.FieldsFunc(network, func(r rune) bool { return r == ',' || r == ' ' || r == '"' }) {
		rule, found := strings.CutPrefix(option, "hostfwd=")
		if !found {
			continue
		}
		host, guest, found := strings.Cut(rule, "-")
		from := strings.Split(host, ":") // protocol, address and port
		if !found || len(from) != 3 {
			continue
		}
		p := Port{Protocol: cmp.Or(from[0], "tcp"), Address: cmp.Or(from[1], "0.0.0.0")}
		var hostErr, guestErr error
		p.Host, hostErr = strconv.Atoi(from[2])
		p.Guest, guestErr = strconv.Atoi(guest[strings.LastIndex(guest, ":")+1:])
		if hostErr == nil && guestErr == nil {
			ports = append(ports, p)
		}
	}
	return ports
}
