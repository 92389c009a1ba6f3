package step

import (
	"context"
	"strings"
	"testing"
)

func TestRunCommand(t *testing.T) {
	for command, want := range map[string]string{
		"echo ' a secret '":                    "a secret",
		"echo first >&2; echo why >&2; exit 3": "exit status 3: why",
		"exit 1":                               "exit status 1",
		":":                                    "the command prints nothing",
		"echo a; echo b":                       "the command prints more than one line",
	} {
		got, err := runCommand(context.Background(), command)
		if err != nil {
			got = err.Error()
		}
		if strings.TrimSpace(got) != want {
			t.Errorf("%s: %q, want %q", command, got, want)
		}
	}
}
