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

// Host is what a confined process must not share. Setup, which is not confined, records it.
type Host struct {
	// Namespaces are those of the user manager, as the links in /proc/PID/ns.
	Namespaces map[string]string `json:"namespaces,omitempty"`
	// Home is the user's home directory.
	Home   string `json:"home,omitempty"`
	Device uint64 `json:"device,omitempty"`
	Inode  uint64 `json:"inode,omitempty"`
}

// Namespaces that units have of their own.
const (
	User    = "user" // PrivateUsers=
	Mount   = "mnt"  // ProtectSystem= and others
	Network = "net"  // PrivateNetwork=
	Names   = "uts"  // ProtectHostname=
)

var settings = map[string]string{
	User: "PrivateUsers=", Mount: "ProtectSystem=", Network: "PrivateNetwork=", Names: "ProtectHostname=",
}

// ReadHost reads the namespaces of the process pid, the user manager, and the identity of the
// home directory.
func ReadHost(pid int, home string) (Host, error) {
	h := Host{Namespaces: map[string]string{}, Home: home}
	for name := range settings {
		link, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, name))
		if err != nil {
			return Host{}, err
		}
		h.Namespaces[name] = link
	}
	var st unix.Stat_t
	if err := unix.Stat(home, &st); err != nil {
		return Host{}, &os.PathError{Op: "stat", Path: home, Err: err}
	}
	h.Device, h.Inode = st.Dev, st.Ino
	return h, nil
}

// Wanted is how a process must be confined, in addition to a seccomp filter, NoNewPrivileges=, a
// read-only system and a hidden home directory.
type Wanted struct {
	Namespaces []string
	// Capabilities that the process may have, as a mask.
	Capabilities uint64
}

// Check returns an error unless this process is confined.
func Check(h Host, w Wanted) error {
	for _, name := range w.Namespaces {
		own, err := os.Readlink("/proc/self/ns/" + name)
		if err != nil {
			return err
		}
		if theirs := h.Namespaces[name]; theirs == "" || theirs == own {
			return missing(settings[name], "the namespace %s is the user manager's", own)
		}
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
