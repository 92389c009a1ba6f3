package unitfile

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestSplit(t *testing.T) {
	for value, want := range map[string][]string{
		"":                     nil,
		"  a\tb ":              {"a", "b"},
		`"a b" 'c d'`:          {"a b", "c d"},
		`"" ''`:                {"", ""},
		`a"b c"d`:              {"ab cd"},
		`"it's" 'a "b"'`:       {"it's", `a "b"`},
		`\x41\101\u00e9\tb\sc`: {"AAé\tb c"},
		`"line1\nline2"`:       {"line1\nline2"},
		`a\ b`:                 nil, // an error
	} {
		got, err := Split(value)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("Split(%q) mismatch (-want +got):\n%s%v", value, diff, err)
		}
	}
	for value, want := range map[string]string{
		`a\ b`:   `unknown escape sequence \ ; write \\ for a backslash`,
		`a\é`:    `unknown escape sequence \é; write \\ for a backslash`,
		`"a`:     "a quote is not closed",
		`it's`:   "a quote is not closed",
		`a\`:     "ends with a backslash",
		`\x4`:    `incomplete escape sequence: \x4`,
		`\x00`:   `invalid escape sequence: \x00`,
		`\xzz`:   `invalid escape sequence: \xzz`,
		`\ud800`: `invalid escape sequence: \ud800`,
		`\xff`:   `not valid text: "\xff"`,
	} {
		if got, err := Split(value); err == nil || err.Error() != want {
			t.Errorf("Split(%q) = %q, %v, want %s", value, got, err, want)
		}
	}
}

func TestQuote(t *testing.T) {
	for word, want := range map[string]string{
		"plain/-_.:=%$,é": "plain/-_.:=%$,é",
		"":                `""`,
		"a b":             `"a b"`,
		`a"b\c`:           `"a\"b\\c"`,
		"it's":            `"it's"`,
		"a\nb\x1b\u0085":  `"a\nb\x1b\u0085"`,
	} {
		if got := Quote(word); got != want {
			t.Errorf("Quote(%q) = %s, want %s", word, got, want)
		}
	}
	if got, err := JoinPlain([]string{"a", "", `b "c" \`, "$X"}); got != `a "" "b \"c\" \\" $X` || err != nil {
		t.Errorf("JoinPlain() = %s, %v", got, err)
	}
	if _, err := JoinPlain([]string{"a\nb"}); err == nil {
		t.Error("JoinPlain() accepted a line break")
	}
}

func TestEnvironment(t *testing.T) {
	if got, want := Environment("V", "100% \"of\" $HOME\n[Service]\\"), `"V=100%% \"of\" $HOME\n[Service]\\"`; got != want {
		t.Errorf("Environment() = %s, want %s", got, want)
	}
}

func FuzzWords(f *testing.F) {
	for _, seed := range []string{"", "a b", `"a\nb" 'c`, "\x7f\u0085\u2028%%$", `\x41\u00e9`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if words, err := Split(text); err == nil {
			again, err := Split(Join(words))
			if diff := cmp.Diff(words, again); diff != "" || err != nil {
				t.Fatalf("Split(Join(%q)): %v\n%s", words, err, diff)
			}
		}
		if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
			return
		}
		line := Environment("V", text)
		for _, written := range []string{Quote(text), line} {
			if strings.ContainsAny(written, "\n\r\x00") {
				t.Fatalf("%q is quoted as %q", text, written)
			}
		}
		if got, err := Split(Quote(text)); err != nil || len(got) != 1 || got[0] != text {
			t.Fatalf("Split(Quote(%q)) = %q, %v", text, got, err)
		}
		got, err := Split(line)
		if err != nil || len(got) != 1 || strings.ReplaceAll(got[0], "%%", "%") != "V="+strings.ReplaceAll(EscapeSpecifiers(text), "%%", "%") {
			t.Fatalf("Split(Environment(%q)) = %q, %v", text, got, err)
		}
	})
}
