package vmfile

import (
	"errors"
	"strings"

	"github.com/t0mpr1c3/claude-microvm/internal/instance"
)

// Specifiers maps the letters of specifiers to their values. They apply to all sections
// except [Unit], [Service] and [Install], and have the meaning of systemd.unit(5): %h
// home directory, %u user name, %U UID, %t runtime directory, %E, %S and %C
// configuration, state and cache directory. %N, the file name without .vm, and %% are
// not in the map.
type Specifiers map[byte]string

// HostSpecifiers returns the specifiers for the files of a user.
func HostSpecifiers(p instance.Paths) Specifiers {
	return Specifiers{'h': p.Home, 'u': p.User, 'U': p.UID, 't': p.Runtime, 'E': p.Config, 'S': p.State, 'C': p.Cache}
}

// expand replaces the specifiers in a value. name is the value of %N; empty in
// defaults.conf.
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
			return "", errors.New("%N is not allowed in defaults.conf, which applies to all VMs")
		case i < len(value) && s[value[i]] != "":
			b.WriteString(s[value[i]])
		case i < len(value) && (value[i] == 't' || value[i] == 'U'): // only unknown with --root
			return "", invalid("with --root, set XDG_RUNTIME_DIR=/run/user/UID", "unknown specifier %%%c", value[i])
		default:
			rest := []rune(value[i-1:])
			return "", invalid("write %% for a percent sign", "unknown specifier %s", string(rest[:min(2, len(rest))]))
		}
	}
	return b.String(), nil
}
