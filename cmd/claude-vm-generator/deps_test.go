package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestDeps keeps out what a generator must not do, and what makes it slow to
// start: it runs at each login and each daemon-reload.
func TestDeps(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	deps := strings.Fields(string(out))
	if !slices.Contains(deps, "os/user") || !slices.Contains(deps, "net/netip") {
		t.Fatalf("go list gives %q", deps) // these two are there, and may be
	}
	for _, dep := range deps {
		switch {
		case dep == "net", dep == "net/http", dep == "crypto/tls",
			strings.Contains(dep, "godbus"), strings.Contains(dep, "go-systemd"), strings.Contains(dep, "kingpin"):
			t.Errorf("depends on %s", dep)
		}
	}
}
