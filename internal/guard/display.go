package guard

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/t0mpr1c3/claude-microvm/internal/failure"
)

// Display returns a path as it can be printed on one line: quoted, if it has characters that are
// not printable.
func Display(path string) string {
	if utf8.ValidString(path) && strings.IndexFunc(path, func(r rune) bool { return !unicode.IsPrint(r) }) < 0 {
		return path
	}
	return strconv.QuoteToASCII(path)
}

// Word returns a path as one word of a command line of bash or zsh that can be printed on one
// line. A guest may have chosen the path, so nothing of it may become a command.
func Word(path string) string {
	if Display(path) == path {
		return failure.Command(path)
	}
	var b strings.Builder
	for _, c := range []byte(path) {
		if c <= ' ' || c > '~' || c == '\'' || c == '\\' {
			fmt.Fprintf(&b, `\%03o`, c)
			continue
		}
		b.WriteByte(c)
	}
	return "$'" + b.String() + "'"
}
