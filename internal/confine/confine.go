// Package confine checks that a process is confined as its unit asks for. A user manager goes on
// without a part of the sandbox that it cannot set up; the programs of a VM do not.
package confine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
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
}

// Check returns an error unless this process is confined.
func Check(h Host, w Wanted) error {
	users, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return err
	}
	if err := checkUsers(string(users)); err != nil {
		return err
	}
	own, err := os.Readlink(networkNamespace)
	if err != nil {
		return err
	}
	if !w.Network && (h.Network == "" || h.Network == own) {
		return missing("PrivateNetwork=", "the network is the host's")
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	if err := checkStatus(string(status), w.Capabilities); err != nil {
		return err
	}
	return checkFiles(h)
}

// maxUsers is more than PrivateUsers= maps, and less than any other user namespace has.
const maxUsers = 16

// checkUsers checks the text of /proc/self/uid_map; see user_namespaces(7).
func checkUsers(text string) error {
	users := 0
	for line := range strings.Lines(text) {
		var inside, outside, count int
		if _, err := fmt.Sscan(line, &inside, &outside, &count); err != nil {
			return fmt.Errorf("uid_map: %w", err)
		}
		users += count
	}
	if users == 0 || users > maxUsers {
		return missing("PrivateUsers=", "the process has %d users", users)
	}
	return nil
}

// missing returns the error for a setting that has no effect.
func missing(setting, format string, args ...any) error {
	return fmt.Errorf("%s has no effect: %s", setting, fmt.Sprintf(format, args...))
}

// checkStatus checks the text of /proc/self/status; see proc_pid_status(5).
func checkStatus(text string, capabilities uint64) error {
	fields := map[string]string{}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(line, ":")
		fields[name] = strings.TrimSpace(value)
	}
	const filter = "2" // SECCOMP_MODE_FILTER
	if fields["Seccomp"] != filter {
		return missing("SystemCallFilter=", "the process has no seccomp filter")
	}
	if fields["NoNewPrivs"] != "1" {
		return missing("NoNewPrivileges=", "the process may get privileges")
	}
	for _, name := range []string{"CapPrm", "CapEff", "CapBnd", "CapAmb"} {
		var set uint64
		if _, err := fmt.Sscanf(fields[name], "%x", &set); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if set&^capabilities != 0 {
			return missing("CapabilityBoundingSet=", "%s is %016x", name, set)
		}
	}
	return nil
}

// checkFiles checks that the system is read-only, and that the home directory is not there.
func checkFiles(h Host) error {
	var fs unix.Statfs_t
	if err := unix.Statfs("/", &fs); err != nil {
		return os.NewSyscallError("statfs", err)
	}
	if fs.Flags&unix.ST_RDONLY == 0 {
		return missing("ProtectSystem=", "/ is writable")
	}
	var st unix.Stat_t
	err := unix.Stat(filepath.Clean(h.Home), &st)
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EACCES):
		return nil
	case err != nil:
		return &os.PathError{Op: "stat", Path: h.Home, Err: err}
	case h.Inode == 0 || st.Dev == h.Device && st.Ino == h.Inode:
		return missing("ProtectHome=", "the process sees %s", h.Home)
	}
	return nil
}
