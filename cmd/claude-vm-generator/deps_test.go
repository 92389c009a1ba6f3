package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestDeps checks that the generator does not depend on D-Bus and network packages, or on
// packages that are slow to initialize. It runs at each login and daemon-reload.
func TestDeps(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	deps := strings.Fields(string(out))
	if !slices.Contains(deps, "os/user") || !slices.Contains(deps, "net/netip") {
		t.Fatalf("go list printed %q", deps) // these two are dependencies
	}
	for _, dep := range deps {
		switch {
		case dep == "net", dep == "net/http", dep == "crypto/tls",
			strings.Contains(dep, "godbus"), strings.Contains(dep, "go-systemd"), strings.Contains(dep, "kingpin"):
			t.Errorf("depends on %s", dep)
		}
	}
}
