package preflight

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/unitfile"
)

// OwnUnits returns the directory with the units that belong to the running program, as
// created by "make install" and "make vm"; empty if there is none.
func OwnUnits() string {
	self, err := os.Executable()
	if err != nil {
		return ""
	}
	for _, name := range []string{"lib", "share"} {
		dir := filepath.Join(filepath.Dir(filepath.Dir(self)), name, "systemd/user")
		if _, err := os.Stat(filepath.Join(dir, instance.VM.Unit(""))); err == nil {
			return dir
		}
	}
	return ""
}

// UnitVersion returns X-Version= of a unit file, the version it was installed with.
func UnitVersion(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return "unknown"
	}
	parsed, _ := unitfile.Parse(file, text)
	for _, e := range parsed.Entries {
		if e.Key == "X-Version" {
			return e.Value
		}
	}
	return "unknown" // old units have no X-Version=
}

// IsMissing reports whether a unit's program does not exist. A name without a path is not
// checked, because systemd searches for it.
func IsMissing(program string) bool {
	_, err := os.Stat(program)
	return filepath.IsAbs(program) && errors.Is(err, os.ErrNotExist)
}

// FindGenerator returns the path of the generator and whether it is enabled. If several
// directories contain it, user managers run the first; a link to /dev/null masks it.
func FindGenerator() (string, bool) {
	for _, prefix := range []string{"/run", "/etc", "/usr/local/lib", "/usr/lib"} {
		path := filepath.Join(prefix, "systemd/user-generators/claude-vm-generator")
		if _, err := os.Lstat(path); err == nil {
			_, err = exec.LookPath(path)
			return path, err == nil
		}
	}
	return "", false
}

// FileEnvironment returns the variables in Environment= of a unit file. It is empty if the
// file cannot be read.
func FileEnvironment(file string) map[string]string {
	env := map[string]string{}
	text, _ := os.ReadFile(file)
	parsed, _ := unitfile.Parse(file, text)
	for _, e := range parsed.Entries {
		words, _ := unitfile.Split(e.Value)
		for _, word := range words {
			if name, value, found := strings.Cut(word, "="); found && e.Key == "Environment" {
				env[name] = value
			}
		}
	}
	return env
}
