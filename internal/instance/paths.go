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

	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"github.com/t0mpr1c3/claude-microvm/internal/snapshot"
	"golang.org/x/sys/unix"
)

// Paths identifies a user and contains the directories that determine the ids and files
// of the user's instances. A program must read them once: if they changed in between, a
// work directory would have two ids.
type Paths struct {
	User, UID string
	Home      string // absolute, without symbolic links
	Runtime   string // $XDG_RUNTIME_DIR; empty if unknown, for files of another machine
	Config    string // $XDG_CONFIG_HOME
	State     string // $XDG_STATE_HOME
	Cache     string // $XDG_CACHE_HOME
	Data      string // $XDG_DATA_HOME
}

// HostPaths returns the paths of the user of this process, from its environment. Relative
// paths in XDG_ variables are ignored, as the XDG Base Directory Specification requires.
func HostPaths() (Paths, error) {
	home, name, uid := os.Getenv("HOME"), os.Getenv("USER"), strconv.Itoa(os.Getuid())
	// systemd runs generators of a systemd-homed user with HOME=/.
	if !path.IsAbs(home) || path.Clean(home) == "/" {
		n, h, err := lookup(uid)
		if err != nil {
			return Paths{}, fmt.Errorf("HOME=%s, and the home directory of user %s is unknown: %w", home, uid, err)
		}
		name, home = n, h
	} else if name == "" {
		name, _, _ = lookup(uid) // %u is rejected if the name is unknown
	}
	return newPaths(name, uid, Physical(path.Clean(home)), environmentPath("XDG_RUNTIME_DIR", "/run/user/"+uid)), nil
}

// EnvironmentPaths returns paths from the environment only, for the files of another
// machine, whose user database and file system are not available. ok is false if HOME or
// USER is not set or HOME is not a home directory.
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

// environmentPath returns the path in a variable, or standard if the variable is not set or
// its value is not an absolute path.
func environmentPath(variable, standard string) string {
	if dir := os.Getenv(variable); path.IsAbs(dir) {
		return path.Clean(dir)
	}
	return standard
}

// lookup returns the name and home directory of a user. os/user reads only /etc/passwd in a
// statically linked program, without the services of nsswitch.conf(5). So lookup also runs
// getent(1).
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

// Physical resolves the symbolic links of a path, which need not exist. EvalSymlinks
// makes a system call for each component of the path, so Physical tries openat2(2) first:
// EvalSymlinks alone costs 10 % more CPU time for 1000 .vm files.
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
	case errors.Is(err, fs.ErrNotExist) && path != "/": // the path may be created later
		return filepath.Join(Physical(filepath.Dir(path)), filepath.Base(path))
	}
	return path
}

// CheckRuntime returns an error if the runtime directory does not exist or cannot be
// accessed. Then this user has no user manager.
func (p Paths) CheckRuntime() error {
	if _, err := os.Stat(p.Runtime); err != nil {
		return errors.New("XDG_RUNTIME_DIR is not set or does not exist: this is not a login with a systemd user manager")
	}
	return nil
}

// instances returns the directory with the files of running instances.
func (p Paths) instances() string { return filepath.Join(p.Runtime, "claude-vm") }

// RuntimeDirectory returns the directory of an instance's sockets and status file. QEMU
// can write there, and so can a guest that controls QEMU.
func (p Paths) RuntimeDirectory(id string) string { return filepath.Join(p.instances(), id) }

// ShareDirectory returns the directory with a symbolic link to each directory that an
// instance shares.
func (p Paths) ShareDirectory(id string) string { return p.private(id, "share") }

// ResumeFile returns the path of the file that starts claude-vm-resume@. QEMU can create it, too.
func (p Paths) ResumeFile(id string) string {
	return filepath.Join(p.RuntimeDirectory(id), contract.ResumeFile)
}

// ConsolePipe returns the path of the named pipe to which QEMU writes the guest's console.
func (p Paths) ConsolePipe(id string) string { return p.private(id, "console") }

// ClaudeDirectory returns the directory with the copy of the user's files for Claude Code, which
// an instance shares.
func (p Paths) ClaudeDirectory(id string) string { return p.private(id, "claude") }

// scratchCondition returns an empty directory that exists if the instance has a scratch disk;
// see claude-vm-scratch@.service.
func (p Paths) scratchCondition(id string) string { return p.private(id, "scratch") }

// private returns the path of a file or directory of an instance that QEMU cannot access.
// Its name starts with a dot, and no id does. So it cannot be equal to, or in, the runtime
// directory of any instance.
func (p Paths) private(id, what string) string {
	return filepath.Join(p.instances(), "."+id+"."+what)
}

// RuntimeUnits returns the directory of units and drop-ins that exist until logout.
func (p Paths) RuntimeUnits() string { return filepath.Join(p.Runtime, "systemd/user") }

// DataUnits returns the directory in the home directory for units installed by programs.
// The user's own units in ~/.config take precedence over them, as they do over generated
// units.
func (p Paths) DataUnits() string { return filepath.Join(p.Data, "systemd/user") }

// ConfigFiles returns the directory of the user's own .vm files.
func (p Paths) ConfigFiles() string { return filepath.Join(p.Config, "claude-vm") }

// StateFiles returns the directory of the persistent home directories of Claude and of
// the short links.
func (p Paths) StateFiles() string { return filepath.Join(p.State, "claude-vm") }

// GuestDirectories returns the directories in which guests are searched by name. Those of the
// first one are the user's.
func (p Paths) GuestDirectories() []string {
	return []string{filepath.Join(p.Data, "claude-vm/guests"), "/usr/local/share/claude-vm/guests", "/usr/share/claude-vm/guests"}
}

// ClaudeCodeDirectory returns the directory with the versions of Claude Code that replace the guest's.
func (p Paths) ClaudeCodeDirectory() string { return filepath.Join(p.Data, "claude-vm/claude-code") }

// Snapshots returns the directory with the saved memory of guests.
func (p Paths) Snapshots() snapshot.Store {
	return snapshot.Store(filepath.Join(p.Cache, "claude-vm/snapshot"))
}

// HomeDirectory returns Claude's home directory for the setting Home=kind: one per
// instance for project, one for all instances for user.
func (p Paths) HomeDirectory(id, kind string) (string, error) {
	switch kind {
	case "project":
		return filepath.Join(p.StateFiles(), "project", id), nil
	case "user":
		return filepath.Join(p.StateFiles(), "user"), nil
	}
	return "", fmt.Errorf("Home=%s: not ephemeral, project or user", kind)
}

// SharedClaude returns the path of a file that exists if a guest could write in ~/.claude. Then links in
// it are not followed.
func (p Paths) SharedClaude() string { return filepath.Join(p.StateFiles(), "shared-claude") }

// GuardFile returns the file in which the guard of an instance keeps what it has found.
func (p Paths) GuardFile(id string) string { return filepath.Join(p.StateFiles(), "guard", id) }

// runtime returns the runtime directory or, if it is unknown, the parent directory of all
// runtime directories.
func (p Paths) runtime() string { return cmp.Or(p.Runtime, "/run/user/") }
