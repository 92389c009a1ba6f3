package step

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/time/rate"
)

func TestConsole(t *testing.T) {
	var sent []string
	c := &consoleLog{
		of:    "the guest",
		lines: rate.NewLimiter(0, 5), bytes: rate.NewLimiter(0, 2*maxLine),
		send: func(line string) error { sent = append(sent, line); return nil },
	}
	long := strings.Repeat("x", maxLine)
	if err := c.copy(strings.NewReader("one\r\n\n\r\n<0>two\n\x1b]52;c;eA==\a\t\u009b31m\xff\u00fc\n" + long + "rest\nfour\nfive\nsix")); !errors.Is(err, io.EOF) {
		t.Errorf("error %v", err)
	}
	if diff := cmp.Diff([]string{"one", "<0>two", " ]52;c;eA== \t 31m\uFFFD\u00fc", long, "rest", "3 lines of the guest were dropped"}, sent); diff != "" {
		t.Errorf("sent (-want +got):\n%s", diff)
	}
}

// FuzzConsole checks that all lines are short and have no control characters.
func FuzzConsole(f *testing.F) {
	f.Add([]byte("one\r\n\x1b]52;c;eA==\a\u009b31m\xff\n\x00"))
	f.Fuzz(func(t *testing.T, in []byte) {
		lines := 0
		c := &consoleLog{
			of:    "the guest",
			lines: rate.NewLimiter(rate.Inf, 0), bytes: rate.NewLimiter(rate.Inf, 0),
			send: func(line string) error {
				lines++
				control := strings.ContainsFunc(line, func(r rune) bool { return unicode.IsControl(r) && r != '\t' })
				// An invalid byte becomes a character of three.
				if control || !utf8.ValidString(line) || len(line) > 3*maxLine {
					t.Errorf("%q", line)
				}
				return nil
			},
		}
		if err := c.copy(bytes.NewReader(in)); !errors.Is(err, io.EOF) || lines > len(in)+1 {
			t.Errorf("%d lines of %q, error %v", lines, in, err)
		}
	})
}
