// Package confine checks that a process is confined as its unit asks for. A user manager goes on
// without a part of the sandbox that it cannot set up; the programs of a VM do not.
package confine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Host is what a confined process must not share. Setup records it, which sees the home directory
// and has the user manager's network.
type Host struct {
	Network string `json:"network,omitempty"` // the network namespace, as the link in /proc/PID/ns
	Home    string `json:"home,omitempty"`    // the user's home directory
	Device  uint64 `json:"device,omitempty"`  // of Home
	Inode   uint64 `json:"inode,omitempty"`
}

const networkNamespace = "/proc/self/ns/net"

// ReadHost returns what this process shares with the user manager.
func ReadHost(home string) (Host, error) {
	h := Host{Home: home}
	var err error
	if h.Network, err = os.Readlink(networkNamespace); err != nil {
		return Host{}, err
	}
	var st unix.Stat_t
	if err := unix.Stat(home, &st); err != nil {
		return Host{}, &os.PathError{Op: "stat", Path: home, Err: err}
	}
	h.Device, h.Inode = st.Dev, st.Ino
	return h, nil
}

// Wanted is how a process must be confined, in addition to a user namespace, a seccomp filter,
// NoNewPrivileges=, a read-only system and a hidden home directory.
type Wanted struct {
	// Network means that the process may use the host's network.
	Network bool
	// Capabilities that the process may have, as a mask.
	Capabilities uint64
	// Insecure are those of Settings that the process may lack, because the user accepts it.
	Insecure []string
}

// Settings are the settings of a unit that Check looks for. Each can be missing on a host.
var Settings = []string{
	"CapabilityBoundingSet", "NoNewPrivileges", "PrivateNetwork", "PrivateUsers", "ProtectHome", "ProtectSystem", "SystemCallFilter",
}

// Missing is the error for a setting that has no effect.
type Missing struct{ Setting, Reason string }

func (m *Missing) Error() string { return m.Setting + "= has no effect: " + m.Reason }

// Check returns an error unless this process is confined. It also returns what the process lacks
// and the user accepts.
func Check(h Host, w Wanted) (accepted []*Missing, err error) {
	for _, check := range []func() error{
		func() error { return checkUsers("/proc/self/uid_map") },
		func() error { return checkNetwork(h, w) },
		func() error { return checkStatus(w, checkFilter) },
		func() error { return checkStatus(w, checkPrivileges) },
		func() error { return checkStatus(w, checkCapabilities) },
		checkSystem,
		func() error { return checkHome(h) },
	} {
		err := check()
		var m *Missing
		switch {
		case err == nil:
		case errors.As(err, &m) && slices.Contains(w.Insecure, m.Setting):
			accepted = append(accepted, m)
		case m != nil:
			return nil, fmt.Errorf("%w; --insecure=%s accepts this", err, m.Setting)
		default:
			return nil, err
		}
	}
	return accepted, nil
}

// missing returns the error for a setting that has no effect.
func missing(setting, format string, args ...any) error {
	return &Missing{setting, fmt.Sprintf(format, args...)}
}

// maxUsers is more than PrivateUsers= maps, and less than any other user namespace has.
const maxUsers = 16

// checkUsers checks a uid_map file; see user_namespaces(7).
func checkUsers(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	users := 0
	for line := range strings.Lines(string(text)) {
		var inside, outside, count int
		if _, err := fmt.Sscan(line, &inside, &outside, &count); err != nil {
			return fmt.Errorf("uid_map: %w", err)
		}
		users += count
	}
	if users == 0 || users > maxUsers {
		return missing("PrivateUsers", "the process has %d users", users)
	}
	return nil
}

func checkNetwork(h Host, w Wanted) error {
	own, err := os.Readlink(networkNamespace)
	if err != nil {
		return err
	}
	if !w.Network && (h.Network == "" || h.Network == own) {
		return missing("PrivateNetwork", "the network is the host's")
	}
	return nil
}

// status has the lines of /proc/self/status; see proc_pid_status(5).
type status map[string]string

func parseStatus(text string) status {
	s := status{}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(line, ":")
		s[name] = strings.TrimSpace(value)
	}
	return s
}

func checkStatus(w Wanted, check func(status, Wanted) error) error {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	return check(parseStatus(string(text)), w)
}

func checkFilter(s status, _ Wanted) error {
	const filter = "2" // SECCOMP_MODE_FILTER
	if s["Seccomp"] != filter {
		return missing("SystemCallFilter", "the process has no seccomp filter")
	}
	return nil
}

func checkPrivileges(s status, _ Wanted) error {
	if s["NoNewPrivs"] != "1" {
		return missing("NoNewPrivileges", "the process may get privileges")
	}
	return nil
}

func checkCapabilities(s status, w Wanted) error {
	for _, name := range []string{"CapPrm", "CapEff", "CapBnd", "CapAmb"} {
		var set uint64
		if _, err := fmt.Sscanf(s[name], "%x", &set); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if set&^w.Capabilities != 0 {
			return missing("CapabilityBoundingSet", "%s is %016x", name, set)
		}
	}
	return nil
}

func checkSystem() error {
	var fs unix.Statfs_t
	if err := unix.Statfs("/", &fs); err != nil {
		return os.NewSyscallError("statfs", err)
	}
	if fs.Flags&unix.ST_RDONLY == 0 {
		return missing("ProtectSystem", "/ is writable")
	}
	return nil
}

// checkHome checks that the home directory is not there.
func checkHome(h Host) error {
	var st unix.Stat_t
	err := unix.Stat(filepath.Clean(h.Home), &st)
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EACCES):
		return nil
	case err != nil:
		return &os.PathError{Op: "stat", Path: h.Home, Err: err}
	case h.Inode == 0 || st.Dev == h.Device && st.Ino == h.Inode:
		return missing("ProtectHome", "the process sees %s", h.Home)
	}
	return nil
}
