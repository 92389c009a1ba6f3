package main

import (
	"testing"

	"golang.org/x/sys/unix"
)

func TestParseSignal(t *testing.T) {
	for text, want := range map[string]unix.Signal{"TERM": 15, "SIGTERM": 15, "sigkill": 9, "hup": 1, "9": 9, "64": 64, "0": 0, "65": 0, "-9": 0, "SIG": 0, "SIG9": 0} {
		got, err := parseSignal(text)
		if got != want || (err == nil) != (want != 0) {
			t.Errorf("parseSignal(%q) = %d, %v", text, got, err)
		}
	}
}
