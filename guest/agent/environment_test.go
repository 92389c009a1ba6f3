package main

import (
	"bytes"
	"log"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// captureLog captures the log until the test ends.
func captureLog(t *testing.T) *bytes.Buffer {
	t.Helper()
	var text bytes.Buffer
	flags := log.Flags()
	log.SetOutput(&text)
	log.SetFlags(0)
	t.Cleanup(func() { log.SetOutput(os.Stderr); log.SetFlags(flags) })
	return &text
}

func TestReadVariables(t *testing.T) {
	logs := captureLog(t)
	file := filepath.Join(t.TempDir(), "environment")
	if got := readVariables(file); got != nil || logs.Len() > 0 {
		t.Errorf("without a file: %q, %s", got, logs)
	}
	text := `# a comment

PLAIN=a b # c
	INDENTED = x
DOUBLE="a 'b' $HOME \n"
 SINGLE='"'
EMPTY=
QUOTED=""
EQUALS=a=b
INSIDE=a"b"
export EXPORTED=1
=nameless
word
OPEN="a
SHUT='a" #'b
ONE='
NUL=` + "a\x00b" + `
$REFERENCE=1
LAST=é`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"PLAIN=a b # c", `DOUBLE=a 'b' $HOME \n`, `SINGLE="`, "EMPTY=", "QUOTED=", "EQUALS=a=b", `INSIDE=a"b"`, "LAST=é",
	}
	if diff := cmp.Diff(want, readVariables(file)); diff != "" {
		t.Errorf("readVariables() mismatch (-want +got):\n%s", diff)
	}
	wantLog := `:4: not NAME=VALUE: "INDENTED = x"
:11: not NAME=VALUE: "export EXPORTED=1"
:12: not NAME=VALUE: "=nameless"
:13: not NAME=VALUE: "word"
:14: unbalanced quote: "OPEN=\"a"
:15: unbalanced quote: "SHUT='a\" #'b"
:16: unbalanced quote: "ONE='"
:17: not NAME=VALUE: "NUL=a\x00b"
:18: not NAME=VALUE: "$REFERENCE=1"
`
	if diff := cmp.Diff(wantLog, strings.ReplaceAll(logs.String(), file, "")); diff != "" {
		t.Errorf("log mismatch (-want +got):\n%s", diff)
	}
	logs.Reset()
	if got := readVariables(filepath.Dir(file)); got != nil || logs.String() != "read "+filepath.Dir(file)+": is a directory\n" {
		t.Errorf("a directory: %q, %s", got, logs)
	}
}

// TestEnvironment checks the precedence: the host's variables, then the agent's, then the
// file's, whose PATH is prepended.
func TestEnvironment(t *testing.T) {
	t.Setenv("PATH", "/usr/bin:/bin")
	cmd := exec.Command("env")
	cmd.Env = (*root)(nil).environment(&user.User{Username: "claude", HomeDir: "/home/claude"},
		[]string{"PATH=/nowhere", "PATH=/opt/bin", "PATH=", "LANG=de_DE.UTF-8", "HOME=/nowhere", "TERM=dumb", "A=file", "B=file", "B=last"},
		map[string]string{"A": "host", "TERM": "foot"})
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"A=host", "B=last", "GIT_DISCOVERY_ACROSS_FILESYSTEM=1", "HOME=/home/claude", "LANG=de_DE.UTF-8",
		"LOGNAME=claude", "PATH=/opt/bin:/usr/bin:/bin", "SHELL=/bin/bash", "TERM=foot", "USER=claude",
	}
	got := strings.Fields(string(out))
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("environment() mismatch (-want +got):\n%s", diff)
	}
}

func TestIsPowerButton(t *testing.T) {
	for name, want := range map[string]bool{
		"Power Button": true, "gpio-keys": true,
		"": false, "Sleep Button": false, "AT Translated Set 2 keyboard": false, "QEMU Virtio Keyboard": false,
	} {
		if got := isPowerButton(name); got != want {
			t.Errorf("isPowerButton(%q) = %v, want %v", name, got, want)
		}
	}
}
