package step

import (
	"errors"
	"io"
	"strings"
	"testing"

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
