package main

import (
	"os/exec"
	"strings"
	"testing"
)

// TestDeps keeps out what makes the program slow to start: it runs three times
// at each start of a VM. Packages of terminal emulators fill tables first.
func TestDeps(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for dep := range strings.Lines(string(out)) {
		if strings.Contains(dep, "charmbracelet") || strings.Contains(dep, "net/http") {
			t.Errorf("depends on %s", dep)
		}
	}
}
