package vmfile

import "testing"

func TestExpand(t *testing.T) {
	s := Specifiers{'h': "/home/%u/me", 'u': "me", 'U': "1000"}
	for value, want := range map[string]string{
		"":          "",
		"plain":     "plain",
		"%h/a":      "/home/%u/me/a", // values are not expanded again
		"%%h":       "%h",
		"%%%h%%":    "%/home/%u/me%",
		"%u%U%N":    "me1000web.x",
		"é%%é":      "é%é",
		"$HOME %%i": "$HOME %i",
	} {
		if got, err := s.expand(value, "web.x"); got != want || err != nil {
			t.Errorf("expand(%q) = %q, %v, want %q", value, got, err, want)
		}
	}
	for value, want := range map[string]string{
		"%":    "unknown specifier %",
		"a%":   "unknown specifier %",
		"%%%":  "unknown specifier %",
		"%i":   "unknown specifier %i",
		"%H%h": "unknown specifier %H",
		"%é":   "unknown specifier %é",
		"% ":   "unknown specifier % ",
		"%C":   "unknown specifier %C", // not in s
	} {
		if got, err := s.expand(value, "web"); err == nil || err.Error() != want {
			t.Errorf("expand(%q) = %q, %v, want %s", value, got, err, want)
		}
	}
}
