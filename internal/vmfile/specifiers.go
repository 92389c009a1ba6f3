package vmfile

import (
	"errors"
	"strings"

	"github.com/t0mpr1c3/claude-microvm/internal/instance"
)

// Specifiers are what a % and a letter stand for in the values of our sections, as
// in systemd.unit(5): %h home, %u user name, %U user number, %t runtime directory,
// %E %S %C directories of configuration, state and cache, %N the file's name
// without .vm, %% a percent sign.
type Specifiers map[byte]string

// HostSpecifiers returns what the specifiers stand for in the files of a user.
func HostSpecifiers(p instance.Paths) Specifiers {
	return Specifiers{'h': p.Home, 'u': p.User, 'U': p.UID, 't': p.Runtime, 'E': p.Config, 'S': p.State, 'C': p.Cache}
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
			return "", invalid("with --root it is known from XDG_RUNTIME_DIR=/run/user/UID only", "unknown specifier %%%c", value[i])
		default:
			rest := []rune(value[i-1:])
			return "", invalid("a percent sign is written %%", "unknown specifier %s", string(rest[:min(2, len(rest))]))
		}
	}
	return b.String(), nil
}
