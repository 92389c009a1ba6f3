package confine

import (
	"cmp"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestCheck: this process, which is not confined, is rejected.
func TestCheck(t *testing.T) {
	h, err := ReadHost(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	_, err = Check(h, Wanted{})
	var m *Missing
	if !errors.As(err, &m) || !strings.HasSuffix(err.Error(), "; --insecure="+m.Setting+" accepts this") {
		t.Errorf("a process that is not confined: %v", err)
	}
	if err := checkHome(h); err == nil {
		t.Error("a process that sees the home directory was accepted")
	}
}

// TestInsecure: what is accepted is returned, and the lack of one thing does not accept another.
func TestInsecure(t *testing.T) {
	h, err := ReadHost(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := Check(h, Wanted{Insecure: Settings})
	if err != nil {
		t.Fatal(err)
	}
	var lacks []string
	for _, m := range accepted {
		lacks = append(lacks, m.Setting)
	}
	if !slices.Contains(lacks, "PrivateNetwork") || !slices.Contains(lacks, "ProtectHome") {
		t.Errorf("the process lacks %q", lacks)
	}
	for _, lack := range lacks {
		others := slices.DeleteFunc(slices.Clone(Settings), func(s string) bool { return s == lack })
		var m *Missing
		if _, err := Check(h, Wanted{Insecure: others}); !errors.As(err, &m) || m.Setting != lack {
			t.Errorf("without %s: %v", lack, err)
		}
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
		file := filepath.Join(t.TempDir(), "uid_map")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := checkUsers(file); err != nil {
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
		s, w := parseStatus(text), Wanted{Capabilities: sysAdmin}
		if err := cmp.Or(checkFilter(s, w), checkPrivileges(s, w), checkCapabilities(s, w)); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
