// Package instance defines the instance of a work directory: its id, the names of its
// units, its files, the request that starts it and the record of a run. It also checks
// which directories may be shared.
package instance

import (
	"fmt"
	"strings"
)

// Escape returns the id of an absolute, clean path, as systemd-escape --path does.
//
// The functions of go-systemd have bugs: UnitNamePathUnescape drops all bytes above
// 0x7f, and UnitNamePathEscape writes control characters with one digit.
func Escape(path string) string {
	path = strings.Trim(path, "/")
	if path == "" {
		return "-"
	}
	var b strings.Builder
	for i := range len(path) {
		switch c := path[i]; {
		case c == '/':
			b.WriteByte('-')
		case c == '.' && i > 0, c == ':', c == '_', '0' <= c && c <= '9', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, `\x%02x`, c)
		}
	}
	return b.String()
}

// Unescape is the inverse of Escape, as systemd-escape --path --unescape. It fails if
// Escape does not return id for any path.
func Unescape(id string) (string, error) {
	if id == "-" {
		return "/", nil
	}
	b := []byte{'/'}
	for i := 0; i < len(id); i++ {
		switch c := id[i]; c {
		case '-':
			b = append(b, '/')
		case '\\':
			var v byte
			if len(id) < i+4 || id[i+1] != 'x' {
				return "", fmt.Errorf("%q is not an escaped path", id)
			}
			if _, err := fmt.Sscanf(id[i+2:i+4], "%02x", &v); err != nil {
				return "", fmt.Errorf("%q is not an escaped path", id)
			}
			b = append(b, v)
			i += 3
		default:
			b = append(b, c)
		}
	}
	if Escape(string(b)) != id {
		return "", fmt.Errorf("%q is not an escaped path", id)
	}
	return string(b), nil
}
