package instance

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Paths are a user and the directories on which the names and rules of that user's
// instances depend. They are read once: two readings that differ would give one
// work directory two ids.
type Paths struct {
	User, UID string
	Home      string // absolute, without symbolic links
	Runtime   string // $XDG_RUNTIME_DIR; empty if it is another machine's and unknown
	Config    string // $XDG_CONFIG_HOME
	State     string // $XDG_STATE_HOME
	Cache     string // $XDG_CACHE_HOME
	Data      string // $XDG_DATA_HOME
}

// HostPaths reads the environment of this process. As the XDG Base Directory
// Specification demands, relative paths in it are ignored.
func HostPaths() (Paths, error) {
	home, name, uid := os.Getenv("HOME"), os.Getenv("USER"), strconv.Itoa(os.Getuid())
	// systemd runs the generators of a systemd-homed user with HOME=/.
	if !path.IsAbs(home) || path.Clean(home) == "/" {
		n, h, err := lookup(uid)
		if err != nil {
			return Paths{}, fmt.Errorf("HOME=%s, and the home directory of user %s is unknown: %w", home, uid, err)
		}
		name, home = n, h
	} else if name == "" {
		name, _, _ = lookup(uid) // without a name %u is rejected
	}
	return newPaths(name, uid, Physical(path.Clean(home)), environmentPath("XDG_RUNTIME_DIR", "/run/user/"+uid)), nil
}

// EnvironmentPaths reads the environment only, for the files of another machine,
// whose user database and symbolic links are not here. ok is false if HOME and USER
// do not name a user.
func EnvironmentPaths() (p Paths, ok bool) {
	home, name := os.Getenv("HOME"), os.Getenv("USER")
	if !path.IsAbs(home) || path.Clean(home) == "/" || name == "" {
		return Paths{}, false
	}
	runtime := environmentPath("XDG_RUNTIME_DIR", "")
	uid := strings.TrimPrefix(runtime, "/run/user/")
	if _, err := strconv.ParseUint(uid, 10, 32); err != nil {
		uid = ""
	}
	return newPaths(name, uid, path.Clean(home), runtime), true
}

func newPaths(name, uid, home, runtime string) Paths {
	return Paths{
		User: name, UID: uid, Home: home, Runtime: runtime,
		Config: environmentPath("XDG_CONFIG_HOME", home+"/.config"),
		State:  environmentPath("XDG_STATE_HOME", home+"/.local/state"),
		Cache:  environmentPath("XDG_CACHE_HOME", home+"/.cache"),
		Data:   environmentPath("XDG_DATA_HOME", home+"/.local/share"),
	}
}

func environmentPath(variable, standard string) string {
	if dir := os.Getenv(variable); path.IsAbs(dir) {
		return path.Clean(dir)
	}
	return standard
}

// lookup returns the name and home of a user: from /etc/passwd or, as a static
// binary has no NSS, from getent(1).
func lookup(uid string) (name, home string, err error) {
	if u, err := user.LookupId(uid); err == nil && u.HomeDir != "/" {
		return u.Username, u.HomeDir, nil
	}
	out, err := exec.Command("getent", "passwd", uid).Output()
	if err != nil {
		return "", "", fmt.Errorf("getent passwd %s: %w", uid, err)
	}
	fields := strings.Split(strings.TrimSpace(string(out)), ":")
	if len(fields) < 6 || !path.IsAbs(fields[5]) {
		return "", "", fmt.Errorf("getent passwd %s returns no home directory", uid)
	}
	return fields[0], fields[5], nil
}

// Physical returns a path without symbolic links, as far as it exists. EvalSymlinks
// alone asks about each part of the path: 10 % more CPU time for 1000 .vm files.
func Physical(path string) string {
	fd, err := unix.Openat2(unix.AT_FDCWD, path, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS})
	if err == nil {
		unix.Close(fd)
	}
	if err == nil || err == unix.ENOENT {
		return path
	}
	real, err := filepath.EvalSymlinks(path)
	switch {
	case err == nil:
		return real
	case errors.Is(err, fs.ErrNotExist) && path != "/": // may be created later
		return filepath.Join(Physical(filepath.Dir(path)), filepath.Base(path))
	}
	return path
}

// CheckRuntime fails if there is no runtime directory and so no user manager.
func (p Paths) CheckRuntime() error {
	if _, err := os.Stat(p.Runtime); err != nil {
		return errors.New("XDG_RUNTIME_DIR is not set: this is not a login with a systemd user manager")
	}
	return nil
}

// instances is the directory of the files of running instances.
func (p Paths) instances() string { return filepath.Join(p.Runtime, "claude-vm") }

// RuntimeDirectory is the directory of an instance's sockets and status file. QEMU,
// and a guest that has taken control of it, can write there.
func (p Paths) RuntimeDirectory(id string) string { return filepath.Join(p.instances(), id) }

// ShareDirectory has a symbolic link to each directory that an instance shares.
func (p Paths) ShareDirectory(id string) string { return p.private(id, "share") }

// private is a file or directory of an instance that QEMU cannot reach. No id begins
// with a dot.
func (p Paths) private(id, what string) string {
	return filepath.Join(p.instances(), "."+id+"."+what)
}

// RuntimeUnits is the directory of units and drop-ins that last until the logout.
func (p Paths) RuntimeUnits() string { return filepath.Join(p.Runtime, "systemd/user") }

// DataUnits is the directory of units in the home that is for programs, not for
// people: what is below ~/.config has priority over it, as over a generator's.
func (p Paths) DataUnits() string { return filepath.Join(p.Data, "systemd/user") }

// ConfigFiles is the directory of the user's own .vm files.
func (p Paths) ConfigFiles() string { return filepath.Join(p.Config, "claude-vm") }

// StateFiles has the kept homes and the links to directories with long names.
func (p Paths) StateFiles() string { return filepath.Join(p.State, "claude-vm") }

// HomeDirectory is where Claude's home is kept: per instance, or one for all of the
// user's instances.
func (p Paths) HomeDirectory(id, kind string) (string, error) {
	switch kind {
	case "project":
		return filepath.Join(p.StateFiles(), "project", id), nil
	case "user":
		return filepath.Join(p.StateFiles(), "user"), nil
	}
	return "", fmt.Errorf("Home=%s: not ephemeral, project or user", kind)
}

// runtime is where runtime directories are, if this user's is not known.
func (p Paths) runtime() string { return cmp.Or(p.Runtime, "/run/user/") }
