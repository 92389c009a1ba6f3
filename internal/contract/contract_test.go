package contract

import (
	"bytes"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestParseStatus(t *testing.T) {
	seven := 7
	for text, want := range map[string]Status{
		"":                               {},
		"STATUS=Booting\nREADY=1\n":      {Ready: true, Text: "Booting"},
		"READY=1\nEXIT_STATUS=7\n":       {Ready: true, Exit: &seven},
		"EXIT_STATUS=7":                  {Exit: &seven},
		"CACHE_DROPS=1\nCACHE_DROPS=2\n": {Drops: 2},
		"CACHE_DROPS=-1\n":               {},
		"EXIT_STATUS=256\n":              {},
		"EXIT_STATUS=-1\n":               {},
		"STOPPING=1\njunk\n=\nREADY=2":   {Stopping: true},
		"STATUS=\xff\n":                  {Text: "\uFFFD"},
		strings.Repeat("x", 1<<21) + "":  {},
	} {
		if diff := cmp.Diff(want, ParseStatus(strings.NewReader(text))); diff != "" {
			t.Errorf("ParseStatus(%.40q) mismatch (-want +got):\n%s", text, diff)
		}
	}
}

// TestUnitHasPorts compares the ports in the unit's QEMU command with the contract.
// scripts/install repeats the line with @ssh_port@ SSHPorts times.
func TestUnitHasPorts(t *testing.T) {
	unit, err := os.ReadFile("../../units/claude-vm@.service")
	if err != nil {
		t.Fatal(err)
	}
	expanded := regexp.MustCompile("(?m)^.*@ssh_port@.*$").ReplaceAllStringFunc(string(unit), func(line string) string {
		var all []string
		for i := range SSHPorts {
			all = append(all, strings.ReplaceAll(line, "@ssh_port@", strconv.Itoa(i)))
		}
		return strings.Join(all, "\n")
	})
	type port struct{ Name, Path string }
	paths := map[string]string{}
	for _, m := range regexp.MustCompile(`-chardev \w+,id=(\w+),path=([^,\s]+)`).FindAllStringSubmatch(expanded, -1) {
		paths[m[1]] = m[2]
	}
	var got []port
	for _, m := range regexp.MustCompile(`-device virtserialport,chardev=(\w+),name=(\S+)`).FindAllStringSubmatch(expanded, -1) {
		got = append(got, port{Name: m[2], Path: paths[m[1]]})
	}
	want := []port{{StatusPort, StatusFile}}
	for i := range SSHPorts {
		want = append(want, port{SSHPort(i), SSHSocket(i)})
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("ports of the unit mismatch (-want +got):\n%s", diff)
	}
}

// TestCommandLine checks that the words of the kernel command line need no quoting in
// guest.env and the guest builds. The console differs per architecture.
func TestCommandLine(t *testing.T) {
	text, err := os.ReadFile("../../guest/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	words := 0
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		for _, word := range strings.Fields(line) {
			words++
			if !regexp.MustCompile(`^[A-Za-z0-9_.,=-]+$`).MatchString(word) || strings.HasPrefix(word, "console=") {
				t.Errorf("guest/cmdline has %q", word)
			}
		}
	}
	if words == 0 {
		t.Error("guest/cmdline has no words")
	}
}

// TestUnitsHaveShare checks that the units use the tag and directories of the contract.
func TestUnitsHaveShare(t *testing.T) {
	for file, texts := range map[string][]string{
		"claude-vm@.service": {"-device vhost-user-fs-pci,chardev=share,tag=" + ShareTag + " "},
		"claude-vm-virtiofsd@.service": {
			" %t/claude-vm/.%i.share/" + ShareWork + ":%h/share/" + ShareWork + " ",
			" -%t/claude-vm/.%i.share/" + ShareHome + ":%h/share/" + ShareHome + "\n",
			"=-%t/claude-vm/.%i.share/" + ShareGit + ":%h/share/" + ShareGit + "\n",
		},
	} {
		unit, err := os.ReadFile("../../units/" + file)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range texts {
			if !strings.Contains(string(unit), text) {
				t.Errorf("no %q in %s", text, file)
			}
		}
	}
}

// FuzzParseStatus checks that what a guest reports stays within its limits.
func FuzzParseStatus(f *testing.F) {
	f.Add([]byte("READY=1\nSTATUS=a\xff\nEXIT_STATUS=7\nCACHE_DROPS=3\nSTOPPING=1\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		s := ParseStatus(bytes.NewReader(in))
		if s.Exit != nil && (*s.Exit < 0 || *s.Exit > 255) || s.Drops < 0 || !utf8.ValidString(s.Text) || strings.Contains(s.Text, "\n") {
			t.Errorf("%q: %+v", in, s)
		}
	})
}
