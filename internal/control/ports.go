package control

import (
	"errors"
	"fmt"

	"github.com/t0mpr1c3/claude-microvm/internal/vm"
	"golang.org/x/sys/unix"
)

// ListenHint is the hint for an error of opening a port of the host.
func ListenHint(err error, p vm.Port) string {
	switch {
	case errors.Is(err, unix.EACCES):
		return fmt.Sprintf("sudo sysctl net.ipv4.ip_unprivileged_port_start=%d", p.Host)
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return "ip address"
	}
	// -t or -u: TCP or UDP.
	return fmt.Sprintf("ss -%.1slnp 'sport = :%d'", p.Protocol, p.Host)
}
