package vmfile

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path"
	"strconv"
	"strings"

	"github.com/t0mpr1c3/claude-microvm/internal/instance"
)

// Specifiers are what a % and a letter stand for in the values of our sections,
// as in systemd.unit(5): %h home, %u user, %U its number, %t runtime directory,
// %E %S %C directories of configuration, state and cache, %N the file's name
// without .vm, %% a percent sign.
type Specifiers map[byte]string

// Environment finds out what the specifiers stand for.
func Environment() (Specifiers, error) {
	home := os.Getenv("HOME")
	name := os.Getenv("USER")
	uid := strconv.Itoa(os.Getuid())
	// For a user of systemd-homed generators have HOME=/.
	if !path.IsAbs(home) || path.Clean(home) == "/" {
		n, h, err := lookup(uid)
		if err != nil {
			return nil, fmt.Errorf("HOME=%s, and the home directory of user %s is not to be found: %w", home, uid, err)
		}
		name, home = n, h
	} else if name == "" {
		name, _, _ = lookup(uid) // or %u is refused
	}
	home = physical(path.Clean(home)) // what is below it names VMs
	return specifiers(home, name, uid, directory("XDG_RUNTIME_DIR", "/run/user/"+uid)), nil
}

// specifiers has directories of the home unless the environment names others.
func specifiers(home, name, uid, runtime string) Specifiers {
	return Specifiers{
		'h': home, 'u': name, 'U': uid, 't': runtime,
		'E': directory("XDG_CONFIG_HOME", home+"/.config"),
		'S': directory("XDG_STATE_HOME", home+"/.local/state"),
		'C': directory("XDG_CACHE_HOME", home+"/.cache"),
	}
}

func directory(variable, standard string) string {
	if dir := os.Getenv(variable); path.IsAbs(dir) {
		return path.Clean(dir)
	}
	return standard
}

// Instances is what names and rules of instances depend on.
func (s Specifiers) Instances() instance.Environment {
	// One that is not known is a directory in there, whichever.
	return instance.Environment{Home: s['h'], RuntimeDir: cmp.Or(s['t'], "/run/user/"), StateDir: s['S'] + "/claude-vm"}
}

// lookup asks for a user's name and home, first in /etc/passwd, then all of the
// host's databases, which Go cannot read by itself.
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
		return "", "", fmt.Errorf("getent passwd %s gives none", uid)
	}
	return fields[0], fields[5], nil
}

// expand replaces the specifiers in a value of the VM of this name.
func (s Specifiers) expand(value, name string) (string, error) {
	if !strings.Contains(value, "%") {
		return value, nil
	}
	var b strings.Builder
	for i := 0; i < len(value); i++ {
		if value[i] != '%' {
			b.WriteByte(value[i])
			continue
		}
		i++
		switch {
		case i < len(value) && value[i] == '%':
			b.WriteByte('%')
		case i < len(value) && value[i] == 'N' && name != "":
			b.WriteString(name)
		case i < len(value) && value[i] == 'N':
			return "", errors.New("%N has no place here: these settings are for all VMs")
		case i < len(value) && s[value[i]] != "":
			b.WriteString(s[value[i]])
		case i < len(value) && (value[i] == 't' || value[i] == 'U'): // only of another machine
			return "", hinted{fmt.Sprintf("unknown specifier %%%c", value[i]), "with --root it is known from XDG_RUNTIME_DIR=/run/user/UID only"}
		default:
			rest := []rune(value[i-1:])
			return "", hinted{fmt.Sprintf("unknown specifier %s", string(rest[:min(2, len(rest))])), "a percent sign is written %%"}
		}
	}
	return b.String(), nil
}
