package terminal

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestDetacher(t *testing.T) {
	for name, c := range map[string]struct {
		writes []string
		pause  time.Duration // between writes
		off    bool
		want   bool
	}{
		"at once":                {writes: []string{"\x1d\x1d\x1d"}, want: true},
		"one by one":             {writes: []string{"\x1d", "\x1d", "\x1d"}, pause: 400 * time.Millisecond, want: true},
		"too slow":               {writes: []string{"\x1d", "\x1d", "\x1d"}, pause: 600 * time.Millisecond},
		"twice":                  {writes: []string{"a\x1d\x1db"}},
		"another key between":    {writes: []string{"\x1d\x1da\x1d"}},
		"kitty":                  {writes: []string{"\x1b[93;5u\x1b[93;5u\x1b[93;5u"}, want: true},
		"modifyOtherKeys":        {writes: []string{"\x1b[27;5;93~", "\x1b[27;5;93~\x1b[27;5;93~"}, want: true},
		"where it is not wanted": {writes: []string{"\x1d\x1d\x1d"}, off: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &Detacher{Enabled: !c.off}
				var err error
				for _, keys := range c.writes {
					time.Sleep(c.pause)
					if _, err = io.WriteString(d, keys); err != nil {
						break
					}
				}
				if d.Detached != c.want || errors.Is(err, ErrDetached) != c.want {
					t.Errorf("detached: %v, %v, want %v", d.Detached, err, c.want)
				}
			})
		})
	}
}

// TestScreen: the alternate screen is left only if the program is in it, also when the
// switch came in two parts.
func TestScreen(t *testing.T) {
	for _, c := range []struct {
		writes []string
		leaves bool
	}{
		{[]string{"text"}, false},
		{[]string{"\x1b[?1049h", "text"}, true},
		{[]string{"\x1b[?10", "49htext"}, true},
		{[]string{"\x1b[?1049h", "text\x1b[?1049l"}, false},
		{[]string{"\x1b[?47h"}, true},
		{[]string{"\x1b[?1049h\x1b[?1049l\x1b[?1049h"}, true},
	} {
		var out strings.Builder
		s := &Screen{W: &out}
		for _, text := range c.writes {
			if _, err := io.WriteString(s, text); err != nil {
				t.Fatal(err)
			}
		}
		if got, want := out.String(), strings.Join(c.writes, ""); got != want {
			t.Errorf("written: %q, want %q", got, want)
		}
		if got := strings.HasPrefix(s.Reset(), "\x1b[?1049l"); got != c.leaves {
			t.Errorf("%q: leaves the alternate screen: %v, want %v", c.writes, got, c.leaves)
		}
	}
}
