// Package docs holds what is written to what the code does.
package docs

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/t0mpr1c3/claude-microvm/internal/dropin"
	"github.com/t0mpr1c3/claude-microvm/internal/hide"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/vm"
	"github.com/t0mpr1c3/claude-microvm/internal/vmfile"
)

const manual = "man/claude-vm.vm.5.scd"

// me is a user without files.
var me = instance.Paths{
	User: "me", UID: "1", Home: "/home/me", Runtime: "/run/user/1",
	Config: "/home/me/.config", State: "/home/me/.local/state", Cache: "/home/me/.cache", Data: "/home/me/.local/share",
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func glob(t *testing.T, patterns ...string) []string {
	t.Helper()
	var all []string
	for _, pattern := range patterns {
		names, err := filepath.Glob(pattern)
		if err != nil || len(names) == 0 {
			t.Fatalf("%s: %v, %v", pattern, names, err)
		}
		all = append(all, names...)
	}
	return all
}

// TestExamples checks each file by itself, then all of them as one user's.
func TestExamples(t *testing.T) {
	files := glob(t, "examples/*.vm", "examples/*.conf")
	for _, file := range files {
		for _, e := range vmfile.Check([]string{file}, me) {
			t.Error(e)
		}
	}
	set := vmfile.Load([]string{"examples"}, me)
	_, errs := dropin.Build(set, me)
	for _, e := range append(set.Errors, errs...) {
		t.Error(e)
	}
	if got := len(set.VMs) + len(set.Defaults.Source); got != len(files) {
		t.Errorf("%d of %d files were read", got, len(files))
	}
}

// block is a verbatim part of a text.
type block struct {
	line   int // of its first line
	indent string
	lines  []string
}

// blocks gives the parts between fences, without what the fences are indented by.
func blocks(text string) []block {
	var all []block
	var open *block
	for i, line := range strings.Split(text, "\n") {
		before, _, fence := strings.Cut(line, "```")
		switch {
		case fence && open == nil:
			open = &block{line: i + 2, indent: before}
		case fence:
			all, open = append(all, *open), nil
		case open != nil:
			open.lines = append(open.lines, strings.TrimPrefix(line, open.indent))
		}
	}
	return all
}

// isVM says whether the first thing in a block is a section of .vm files.
func (b block) isVM() bool {
	for _, line := range b.lines {
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		return slices.ContainsFunc(vmfile.Keys, func(k vmfile.Key) bool { return line == "["+k.Section+"]" })
	}
	return false
}

// TestBlocks checks the .vm files and parts of some that are shown in the texts.
func TestBlocks(t *testing.T) {
	for _, name := range glob(t, "../*.md", "man/*.scd") {
		found := 0
		for _, b := range blocks(read(t, name)) {
			if !b.isVM() {
				continue
			}
			found++
			text := strings.Join(b.lines, "\n") + "\n"
			file := filepath.Join(t.TempDir(), "block.conf")
			if strings.Contains(text, "\nWorkDirectory=") {
				file = strings.TrimSuffix(file, "conf") + "vm"
			}
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, e := range vmfile.Check([]string{file}, me) {
				t.Errorf("%s:%d: %s", name, b.line+max(e.Line, 1)-1, e.Err)
			}
		}
		if found == 0 && (name == manual || name == "../README.md") {
			t.Errorf("%s shows no .vm file", name)
		}
	}
}

// key is what the manual says of one: its section, name, value and default.
type key struct{ Section, Name, Value, Default string }

var (
	section    = regexp.MustCompile(`^# (?:\[(\w+)\] SECTION$)?`)
	definition = regexp.MustCompile(`^\*(\w+)=\*_(.+)_$`)
	standard   = regexp.MustCompile(`^\tDefault: (.+)\.$`)
)

// documentedKeys reads them off the manual.
func documentedKeys(t *testing.T) []key {
	var keys []key
	in := ""
	for i, line := range strings.Split(read(t, manual), "\n") {
		line = strings.ReplaceAll(line, `\`, "")
		if m := section.FindStringSubmatch(line); m != nil {
			in = m[1]
		}
		if in == "" {
			continue
		}
		if m := definition.FindStringSubmatch(line); m != nil {
			keys = append(keys, key{Section: in, Name: m[1], Value: m[2]})
		}
		if m := standard.FindStringSubmatch(line); m != nil {
			last := &keys[len(keys)-1]
			if last.Default != "" {
				t.Errorf("%s:%d: a second default of %s=", manual, i+1, last.Name)
			}
			last.Default = m[1]
		}
	}
	return keys
}

func TestKeysDocumented(t *testing.T) {
	var want []key
	for _, k := range vmfile.Keys {
		want = append(want, key{k.Section, k.Name, k.Value, k.Default})
	}
	if diff := cmp.Diff(want, documentedKeys(t)); diff != "" {
		t.Errorf("%s mismatch (-code +manual):\n%s", manual, diff)
	}
}

// TestOptionsDocumented: the options that come from keys are in the manual of
// claude-vm-ctl, with their keys.
func TestOptionsDocumented(t *testing.T) {
	text := strings.ReplaceAll(read(t, "man/claude-vm-ctl.1.scd"), `\`, "")
	for _, k := range vmfile.Keys {
		option, key := "*--"+k.Flag+"*=_"+k.Value+"_", "_"+k.Name+"=_"
		if k.Value == vmfile.Boolean {
			option, key = "*--"+k.Flag+"*\n", "_"+k.Name+"=yes_"
		}
		if k.Flag != "" && (!strings.Contains(text, option) || !strings.Contains(text, key)) {
			t.Errorf("the manual of claude-vm-ctl does not describe %s and %s", option, key)
		}
	}
}

// TestDefaultsDocumented: the lists that are a default are in the manual.
func TestDefaultsDocumented(t *testing.T) {
	text := read(t, manual)
	words := vm.Default().ReadOnly
	for _, c := range vm.Default().Credentials {
		words = append(words, c.Name)
	}
	for _, word := range words {
		if !strings.Contains(text, "_"+word+"_") && !strings.Contains(text, "Default: "+word+" and others.") {
			t.Errorf("%s does not name %s", manual, word)
		}
	}
}

func TestSpecifiersDocumented(t *testing.T) {
	want := []string{"%%", "%N"}
	for letter := range vmfile.HostSpecifiers(me) {
		want = append(want, "%"+string(letter))
	}
	_, text, _ := strings.Cut(read(t, manual), "\n## Specifiers\n")
	text, _, _ = strings.Cut(text, "\n# ")
	got := regexp.MustCompile(`%[%A-Za-z]`).FindAllString(text, -1)
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("specifiers mismatch (-code +manual):\n%s", diff)
	}
}

// TestWidth: what is verbatim is not wrapped on a terminal of 80 columns, where it
// begins in column 11, or in a list 15.
func TestWidth(t *testing.T) {
	for _, name := range glob(t, "man/*.scd") {
		for _, b := range blocks(read(t, name)) {
			for i, line := range b.lines {
				if n := 11 + 4*len(b.indent) + utf8.RuneCountInString(line); n > 80 {
					t.Errorf("%s:%d: ends in column %d", name, b.line+i, n)
				}
			}
		}
	}
}

// TestPages renders the manual pages.
func TestPages(t *testing.T) {
	scdoc, err := exec.LookPath("scdoc")
	if err != nil && os.Getenv("CI") == "" {
		t.Skip("scdoc is not installed")
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range glob(t, "man/*.scd") {
		cmd := exec.Command(scdoc)
		cmd.Stdin = strings.NewReader(read(t, name))
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		page, err := cmd.Output()
		base := strings.TrimSuffix(filepath.Base(name), ".scd")
		title := fmt.Sprintf(".TH \"%s\" \"%s\"", strings.TrimSuffix(base, filepath.Ext(base)), filepath.Ext(base)[1:])
		if err != nil || !strings.Contains(string(page), title) {
			t.Errorf("%s: %v, %s, without %s", name, err, stderr.String(), title)
		}
	}
}

// TestGroupsDocumented: the manual lists the members of groups of Hide=, in order.
func TestGroupsDocumented(t *testing.T) {
	text := strings.ReplaceAll(read(t, manual), `\`, "")
	for group, members := range hide.Groups {
		_, list, found := strings.Cut(text, "These are in *"+group+"*.")
		list, _, _ = strings.Cut(list, "# ")
		var got []string
		for _, line := range strings.Split(list, "\n")[1:] {
			for word := range strings.FieldsSeq(line) {
				if name, ok := strings.CutPrefix(word, "_"); ok && strings.HasPrefix(line, "_") {
					got = append(got, strings.TrimSuffix(name, "_"))
				}
			}
		}
		if diff := cmp.Diff(members, got); !found || diff != "" {
			t.Errorf("%s mismatch (-code +manual):\n%s", group, diff)
		}
	}
}

// TestSecurity: each promise has a test.
func TestSecurity(t *testing.T) {
	known := map[string]bool{}
	for _, file := range glob(t, "../test/e2e/*_test.go", "../internal/*/*_test.go", "../guest/agent/*_test.go") {
		for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllStringSubmatch(read(t, file), -1) {
			known[m[1]] = true
		}
	}
	rows := 0
	for line := range strings.Lines(read(t, "SECURITY.md")) {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| it cannot") {
			continue
		}
		rows++
		tests := regexp.MustCompile("`(Test\\w+)`").FindAllStringSubmatch(line, -1)
		cells := strings.Split(strings.TrimSuffix(line, " |\n"), "|")
		for _, m := range regexp.MustCompile("`([a-z]+/[a-z-]+)`").FindAllStringSubmatch(cells[len(cells)-1], -1) {
			if _, err := os.Stat("../test/attack/" + m[1] + ".sh"); err != nil {
				t.Error(err)
			}
		}
		if len(tests) == 0 {
			t.Errorf("no test: %s", line)
		}
		for _, m := range tests {
			if !known[m[1]] {
				t.Errorf("%s does not exist: %s", m[1], line)
			}
		}
	}
	if rows == 0 {
		t.Error("no promises")
	}
}
