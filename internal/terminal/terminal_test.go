package terminal

import (
	"errors"
	"fmt"
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
				if errors.Is(err, ErrDetached) != c.want {
					t.Errorf("%v, want detached: %v", err, c.want)
				}
			})
		})
	}
}

// TestSettle checks that answers of the terminal are discarded, also late ones and those that
// come after the answer to the same query of a program, and that a silent terminal does not
// delay the end for long.
func TestSettle(t *testing.T) {
	const ms = time.Millisecond
	for name, c := range map[string]struct {
		answers []string      // MODE is the mode that was asked for
		pause   time.Duration // before each answer
		want    time.Duration
		left    int // answers that were not read
	}{
		"no answer":             {want: settleTimeout},
		"both answers":          {answers: []string{"\x1b[?MODE;0$y\x1b[?64;1c"}, pause: 10 * ms, want: 10 * ms},
		"late":                  {answers: []string{"\x1b]11;rgb:0/0/0\a\x1b[?64;1c", "\x1b[?MODE;0$", "y\x1b[?6", "4;1c"}, pause: 200 * ms, want: 800 * ms},
		"another mode":          {answers: []string{"\x1b[?9999;0$y\x1b[?64;1c", "\x1b[?MODE;0$y\x1b[?64;1c"}, pause: 100 * ms, want: 200 * ms},
		"only the second":       {answers: []string{"\x1b]11;rgb:0/0/0\a", "\x1b[?6", "4;1c"}, pause: 100 * ms, want: 300*ms + silence},
		"the program's, slowly": {answers: []string{"\x1b[?64;1c", "\x1b[3;1R", "\x1b[?64;1c"}, pause: 200 * ms, want: 600*ms + silence},
		"a key":                 {answers: []string{"x"}, want: settleTimeout},
		"too late":              {answers: []string{"\x1b[?64;1c"}, pause: settleTimeout + 100*ms, want: settleTimeout, left: 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				typed := make(chan []byte)
				left := make(chan int)
				asked, terminal := io.Pipe()
				go func() {
					var mode int
					if _, err := fmt.Fscanf(asked, "\x1b[?%d$p", &mode); err != nil {
						t.Error(err)
					}
					go io.Copy(io.Discard, asked)
					n := len(c.answers)
					for _, answer := range c.answers {
						time.Sleep(c.pause)
						select {
						case typed <- []byte(strings.ReplaceAll(answer, "MODE", fmt.Sprint(mode))):
							n--
						case <-time.After(time.Second):
						}
					}
					left <- n
				}()
				start := time.Now()
				Settle(terminal, typed)
				if got := time.Since(start); got != c.want {
					t.Errorf("took %v, want %v", got, c.want)
				}
				terminal.Close()
				if got := <-left; got != c.left {
					t.Errorf("%d answers left, want %d", got, c.left)
				}
			})
		})
	}
}

// TestSettleClosed checks that a terminal that is gone does not delay the end.
func TestSettleClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		Settle(io.Discard, Read(strings.NewReader("")))
		if got := time.Since(start); got != 0 {
			t.Errorf("took %v", got)
		}
	})
}
