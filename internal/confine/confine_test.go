package confine

import (
	"strings"
	"testing"
)

// TestCheck: this process, which is not confined, is rejected.
func TestCheck(t *testing.T) {
	h, err := ReadHost(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := Check(h, Wanted{}); err == nil {
		t.Error("a process that is not confined was accepted")
	}
	if err := checkFiles(h); err == nil {
		t.Error("a process that sees the home directory was accepted")
	}
}

func TestCheckUsers(t *testing.T) {
	for text, want := range map[string]string{
		"      1000       1000          1\n": "",
		"0 1000 1\n65534 65534 1\n":          "",
		"0 0 4294967295\n":                   "PrivateUsers= has no effect: the process has 4294967295 users",
		"0 524288 65536\n":                   "PrivateUsers= has no effect: the process has 65536 users",
		"":                                   "PrivateUsers= has no effect: the process has 0 users",
	} {
		got := ""
		if err := checkUsers(text); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
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
