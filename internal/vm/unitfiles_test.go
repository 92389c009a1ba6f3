package vm

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/t0mpr1c3/claude-microvm/internal/unitfile"
)

// unitFiles are the files in units/. scripts/install replaces @guestdir@ and other
// placeholders with paths.
var unitFiles = [unitCount]string{Setup: "claude-vm-setup@.service", Share: "claude-vm-virtiofsd@.service", Machine: "claude-vm@.service"}

// static is the section [Service] of a unit file.
type static []unitfile.Entry

func readUnit(t *testing.T, unit Unit) static {
	t.Helper()
	name := filepath.Join("../../units", unitFiles[unit])
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	sandbox, err := os.ReadFile("../../units/sandbox.inc")
	if err != nil {
		t.Fatal(err)
	}
	file, errs := unitfile.Parse(name, bytes.ReplaceAll(text, []byte("@sandbox@\n"), sandbox))
	for _, err := range errs {
		t.Error(err)
	}
	var s static
	for _, e := range file.Entries {
		if e.Section == "Service" {
			s = append(s, e)
		}
	}
	return s
}

// values returns the values of a key, unparsed.
func (s static) values(key string) []string {
	var values []string
	for _, e := range s {
		if e.Key == key {
			values = append(values, e.Value)
		}
	}
	return values
}

// words returns the words of all values of a key.
func (s static) words(t *testing.T, key string) []string {
	t.Helper()
	var all []string
	for _, value := range s.values(key) {
		words, err := unitfile.Split(value)
		if err != nil {
			t.Fatalf("%s=%s: %v", key, value, err)
		}
		all = append(all, words...)
	}
	return all
}

// environment returns the variables that the unit sets.
func (s static) environment(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, word := range s.words(t, "Environment") {
		name, value, _ := strings.Cut(word, "=")
		all[name] = value
	}
	return all
}
