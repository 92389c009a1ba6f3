package guard

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Display returns a path as it can be printed on one line: quoted, if it has characters that are
// not printable.
func Display(path string) string {
	if utf8.ValidString(path) && strings.IndexFunc(path, func(r rune) bool { return !unicode.IsPrint(r) }) < 0 {
		return path
	}
	return strconv.QuoteToASCII(path)
}
