package confine

import (
	"os"
	"strings"
	"testing"
)

// TestCheck: this process, which is not confined, is rejected for each reason.
func TestCheck(t *testing.T) {
	home := t.TempDir()
	h, err := ReadHost(os.Getpid(), home)
	if err != nil {
		t.Fatal(err)
	}
	for name, setting := range settings {
		if err := Check(h, Wanted{Namespaces: []string{name}}); err == nil || !strings.HasPrefix(err.Error(), setting+" has no effect: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := checkFiles(h); err == nil {
		t.Error("a process that sees the home directory was accepted")
	}
	if err := Check(Host{}, Wanted{Namespaces: []string{User}}); err == nil {
		t.Error("a record without namespaces was accepted")
	}
}

func TestCheckStatus(t *testing.T) {
	const good = "NoNewPrivs:\t1\nSeccomp:\t2\nCapPrm:\t0000000000200000\nCapEff:\t0\nCapBnd:\t0000000000200000\nCapAmb:\t0\n"
	const sysAdmin = 1 << 21
	for text, want := range map[string]string{
		good: "",
		strings.Replace(good, "Seccomp:\t2", "Seccomp:\t0", 1):       "SystemCallFilter= has no effect: the process has no seccomp filter",
		strings.Replace(good, "NoNewPrivs:\t1", "NoNewPrivs:\t0", 1): "NoNewPrivileges= has no effect: the process may get privileges",
		strings.Replace(good, "CapEff:\t0", "CapEff:\t1", 1):         "CapabilityBoundingSet= has no effect: CapEff is 0000000000000001",
		strings.Replace(good, "CapAmb:\t0\n", "", 1):                 "CapAmb: EOF",
	} {
		got := ""
		if err := checkStatus(text, sysAdmin); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
