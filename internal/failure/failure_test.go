package failure

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestError(t *testing.T) {
	broken := errors.New("it is broken")
	for want, err := range map[string]*Error{
		"it is broken":         {Err: broken},
		"a.vm: it is broken":   {File: "a.vm", Err: broken},
		"a.vm:3: it is broken": {File: "a.vm", Line: 3, Err: broken},
	} {
		if got := err.Error(); got != want || !errors.Is(err, broken) {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// TestOf checks that an error that wraps an Error keeps its status and hint.
func TestOf(t *testing.T) {
	err := fmt.Errorf("start: %w", New(HostUnable, "make install", "no units"))
	if got := Of(err); got.Status != HostUnable || got.Hint != "make install" || got.Error() != "start: no units" {
		t.Errorf("Of() = %+v", got)
	}
	if got := Of(errors.New("x")); got.Status != Failed || got.Hint != "" || got.Error() != "x" {
		t.Errorf("Of() = %+v", got)
	}
	if got := Of(&Error{Err: errors.New("x")}); got.Status != Failed {
		t.Errorf("Of() = %+v", got)
	}
}

func TestJSON(t *testing.T) {
	text, err := json.Marshal(&Error{File: "/a.vm", Line: 2, Status: Usage, Err: errors.New("wrong"), Hint: "edit it"})
	if want := `{"status":2,"text":"/a.vm:2: wrong","hint":"edit it"}`; string(text) != want || err != nil {
		t.Fatalf("%s, %v, want %s", text, err, want)
	}
	var got Error
	if err := json.Unmarshal(text, &got); err != nil || got.Error() != "/a.vm:2: wrong" || got.Status != Usage || got.Hint != "edit it" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestCommand(t *testing.T) {
	if got, want := Command("mv", "a b", "it's", "", "~", "/é/x-1_2.c"), `mv 'a b' 'it'\''s' '' '~' /é/x-1_2.c`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestOneLine(t *testing.T) {
	for text, want := range map[string]string{
		" a\nb ":                       "a b",
		"\x1b[31mred\u009b0m":          " [31mred 0m",
		"a\u202eb\u2066c\u200bd\ufeff": "a b c d ",
		"häßlich 中文 🙂":                 "häßlich 中文 🙂",
	} {
		if got := OneLine(text); got != want {
			t.Errorf("OneLine(%q) = %q, want %q", text, got, want)
		}
	}
	if got := OneLine(strings.Repeat("ß", 1<<20)); len(got) > maxLine+len("…") || !strings.HasSuffix(got, "ß…") {
		t.Errorf("%d bytes, which end with %q", len(got), got[max(0, len(got)-5):])
	}
}
