package unitfile

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/coreos/go-systemd/v22/unit"
	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	for name, test := range map[string]struct {
		text string
		want []Entry
	}{
		"nothing":              {"", nil},
		"repeated keys":        {"[A]\nK=1\nK=2\nK=\n", []Entry{{"A", "K", "1", 2}, {"A", "K", "2", 3}, {"A", "K", "", 4}}},
		"repeated sections":    {"[A]\nK=1\n[B]\nK=2\n[A]\nK=3\n", []Entry{{"A", "K", "1", 2}, {"B", "K", "2", 4}, {"A", "K", "3", 6}}},
		"whitespace":           {"  [A]\t\n\t K = a b \t\n", []Entry{{"A", "K", "a b", 2}}},
		"more equals signs":    {"[A]\nK=a=b\n", []Entry{{"A", "K", "a=b", 2}}},
		"comments":             {"# [X]\n[A]\n ; K=0\nK=a # b\n", []Entry{{"A", "K", "a # b", 4}}},
		"no final newline":     {"[A]\nK=1", []Entry{{"A", "K", "1", 2}}},
		"CR LF":                {"[A]\r\nK=1\r\n\r\nL=2\r\n", []Entry{{"A", "K", "1", 2}, {"A", "L", "2", 4}}},
		"CR":                   {"[A]\rK=1\rL=2", []Entry{{"A", "K", "1", 2}, {"A", "L", "2", 3}}},
		"byte order mark":      {"\ufeff[A]\nK=1\n", []Entry{{"A", "K", "1", 2}}},
		"continuation":         {"[A]\nK=a\\\nb \\\n  c\nL=d\n", []Entry{{"A", "K", "a b    c", 2}, {"A", "L", "d", 5}}},
		"comment within":       {"[A]\nK=a \\\n# no\n; no\nb\nL=c\n", []Entry{{"A", "K", "a  b", 2}, {"A", "L", "c", 6}}},
		"comment that goes on": {"[A]\n# no \\\nK=1\n", []Entry{{"A", "K", "1", 3}}},
		"empty line within":    {"[A]\nK=a\\\n\nL=b\n", []Entry{{"A", "K", "a", 2}, {"A", "L", "b", 4}}},
		"escaped backslash":    {"[A]\nK=a\\\\\nL=b\n", []Entry{{"A", "K", `a\\`, 2}, {"A", "L", "b", 3}}},
		"continued to the end": {"[A]\nK=a\\", []Entry{{"A", "K", "a", 2}}},
		"own extensions":       {"[X-A]\nX-K=1\n", []Entry{{"X-A", "X-K", "1", 2}}},
		"UTF-8":                {"[A]\nK=é 日本\n", []Entry{{"A", "K", "é 日本", 2}}},
	} {
		t.Run(name, func(t *testing.T) {
			f, errs := Parse("f", []byte(test.text))
			if len(errs) > 0 {
				t.Errorf("errors: %v", errs)
			}
			if diff := cmp.Diff(test.want, f.Entries); diff != "" && len(test.want)+len(f.Entries) > 0 {
				t.Errorf("Parse() mismatch (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseErrors(t *testing.T) {
	for text, want := range map[string]string{
		"K=1\n":                      "f:1: K= is outside of any section",
		"[A]\nK\n":                   `f:2: missing '=' after "K"`,
		"[A]\n=1\n":                  `f:2: invalid key name: ""`,
		"[A]\nK L=1\n":               `f:2: invalid key name: "K L"`,
		"[A\nK=1\n":                  "f:1: section header without a closing bracket: [A",
		"[A]]\n":                     `f:1: invalid section name: "A]"`,
		"[]\n":                       `f:1: invalid section name: ""`,
		"[A] # b\n":                  "f:1: section header without a closing bracket: [A] # b",
		"[A]\nK=\x00\n":              "f:2: contains a NUL byte",
		"[A]\nK=\x1b[m\n":            "f:2: contains a control character",
		"[A]\n# \xff\nK=\xff\n":      "f:2: not valid UTF-8\nf:3: not valid UTF-8",
		"[A]\nK=a\\ \nL=b\n":         "f:2: K= ends with a backslash and a space",
		"[A]\nK=a\\\n# c\nb\nL\n":    `f:5: missing '=' after "L"`,
		strings.Repeat("#", 1<<20+1): "f: larger than 1 MiB",
	} {
		_, errs := Parse("f", []byte(text))
		var lines []string
		for _, err := range errs {
			lines = append(lines, err.Error())
		}
		if diff := cmp.Diff(want, strings.Join(lines, "\n")); diff != "" {
			t.Errorf("Parse(%.30q) mismatch (-want +got):\n%s", text, diff)
		}
	}
}

// FuzzParse checks that entries are single lines in file order, that they parse to the
// same entries after being written, and that go-systemd finds the same entries.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"[A]\nK=1\\\n# c\n 2\nL = 3", "\ufeff[A]\r\n;c\rK=\\\\\r\n", "K=1\n[B\n[C]\nK", "[A]\nK=\\\n\nL=\x00"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		file, errs := Parse("f", text)
		last, section := 0, ""
		var b strings.Builder
		for _, e := range file.Entries {
			if e.Line <= last {
				t.Fatalf("line %d after %d", e.Line, last)
			}
			last = e.Line
			if strings.ContainsAny(e.Key+e.Value+e.Section, "\n\r\x00") {
				t.Fatalf("%+v is more than a line", e)
			}
			if e.Section != section {
				fmt.Fprintf(&b, "[%s]\n", e.Section)
				section = e.Section
			}
			fmt.Fprintf(&b, "%s=%s\n", e.Key, e.Value)
		}
		again, againErrs := Parse("f", []byte(b.String()))
		if len(againErrs) > 0 || !cmp.Equal(plain(file), plain(again)) {
			t.Fatalf("%q parses differently after being written:\n%s%v", text, cmp.Diff(plain(file), plain(again)), againErrs)
		}
		if len(errs) == 0 && agrees(text) {
			secondOpinion(t, text, file)
		}
	})
}

func plain(f *File) []unit.UnitOption {
	var options []unit.UnitOption
	for _, e := range f.Entries {
		options = append(options, unit.UnitOption{Section: e.Section, Name: e.Key, Value: e.Value})
	}
	return options
}

// agrees reports whether text has none of what go-systemd is known to parse
// differently: CR alone, continuation lines, a byte order mark and long lines.
func agrees(text []byte) bool {
	s := string(text)
	return !strings.ContainsAny(s, "\r\\\ufeff") && len(text) < 2048
}

func secondOpinion(t *testing.T, text []byte, file *File) {
	t.Helper()
	options, err := unit.DeserializeOptions(strings.NewReader(string(text) + "\n"))
	if err != nil && !errors.Is(err, io.EOF) {
		t.Fatalf("go-systemd rejects %q: %v", text, err)
	}
	var theirs []unit.UnitOption
	for _, o := range options {
		theirs = append(theirs, *o)
	}
	if diff := cmp.Diff(theirs, plain(file)); diff != "" {
		t.Fatalf("%q: go-systemd differs (-theirs +ours):\n%s", text, diff)
	}
}
