package main

import (
	"os"
	"regexp"
	"testing"
)

// TestVerbsDocumented: the program's help and the manual have every verb.
func TestVerbsDocumented(t *testing.T) {
	manual, err := os.ReadFile("../../docs/man/claude-vm-ctl.1.scd")
	if err != nil {
		t.Fatal(err)
	}
	app, _ := application(quiet(t))
	for _, verb := range app.Model().Commands {
		if verb.Hidden || verb.Name == "help" {
			continue
		}
		if !regexp.MustCompile(`(?m)^  .*\b` + verb.Name + `\b`).MatchString(programHelp) {
			t.Errorf("claude-vm-ctl --help does not name %s", verb.Name)
		}
		if !regexp.MustCompile(`(?m)^\*` + verb.Name + `\*`).Match(manual) {
			t.Errorf("claude-vm-ctl(1) has no entry of %s", verb.Name)
		}
	}
}
