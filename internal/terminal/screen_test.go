package terminal

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"
)

// show returns what a terminal gets from a program that writes parts.
func show(s *Screen, parts ...string) string {
	var out strings.Builder
	s.W = &out
	for _, part := range parts {
		if n, err := io.WriteString(s, part); err != nil || n != len(part) {
			panic(err)
		}
	}
	return out.String()
}

const unchanged = "unchanged"

func TestSequences(t *testing.T) {
	const pushed = "\x1b[22;0t"
	for name, c := range map[string]struct{ in, want string }{
		"text":                         {"a\tb\r\n\x00\a漢字 e\u0301 👍\u200d", unchanged},
		"colours and cursor":           {"\x1b[38;2;1;2;3m\x1b[4:3m\x1b[2J\x1b[10;20H\x1b[0m\x1b7\x1b8\x1b(B\x1b=", unchanged},
		"modes":                        {"\x1b[?1049h\x1b[?2026$p\x1b[?25l\x1b[>1u\x1b[=5;1u\x1b[<u\x1b[>4;2m\x1b[2 q\x1b[!p", unchanged},
		"queries of Claude Code":       {"\x1b[c\x1b[>c\x1b[>0q\x1b[?u\x1b[6n\x1b[?996n\x1b[14t\x1b[16t\x1b[18t\x1b]11;?\x1b\\\x1b]10;?\a\x1bP$qm\x1b\\\x1bP+q544e\x1b\\", unchanged},
		"links":                        {"\x1b]8;id=1;https://example.com/%20\x1b\\text\x1b]8;;\a", unchanged},
		"notifications and progress":   {"\x1b]9;4;1;50\a\x1b]9;done\a\x1b]777;notify;a;b\a\x1b]99;i=1;text\x1b\\", unchanged},
		"images":                       {"\x1bP0;1q#0;2;0;0;0~~@@\x1b\\\x1b_Gf=100,a=T,t=d,m=1;AAAA\x1b\\\x1b_Gm=0;BB==\x1b\\\x1b]1337;File=size=3;inline=1:AAAA\a", unchanged},
		"title":                        {"\x1b]0;✳ Fix\a\x1b]2;b\x1b\\\x1b]1;\a", pushed + "\x1b]0;claude-vm web: ✳ Fix\a\x1b]2;claude-vm web: b\x1b\\\x1b]1;claude-vm web: \a"},
		"title with bidi and controls": {"\x1b]2;a\u202eb\u2066c\x01\u200b\u0085\xff\u2028d\a", pushed + "\x1b]2;claude-vm web: abcd\a"},
		"long title":                   {"\x1b]2;" + strings.Repeat("x", 1000) + "\a", pushed + "\x1b]2;claude-vm web: " + strings.Repeat("x", 240) + "…\a"},
		"number with zeros":            {"\x1b]002;a\a", pushed + "\x1b]2;claude-vm web: a\a"},
		"titles of screen and tmux":    {"a\x1bktitle\x1b\\b\x1b_title\x1b\\c\x1b^message\x1b\\d\x1bXsos\x1b\\e", "abcde"},
		"reports and stack of titles":  {"a\x1b[20t\x1b[21t\x1b[021t\x1b[22;0t\x1b[23t\x1b[>2t\x1b[8;1;1t\x1b[;21tb", "ab"},
		"clipboard":                    {"a\x1b]52;c;eA==\a\x1b]52;;?\x1b\\\x1b]052;c;eA==\a\x1b]5522;type=read\x1b\\\x1b]1337;Copy=:eA==\a\x1b]1337;CopyToClipboard=\ab", "ab"},
		"clipboard in other sequences": {"a\x1bPtmux;\x1b\x1b]52;c;eA==\a\x1b\\b\x1bP\x1b]52;c;eA==\a\x1b\\c\x1b]8;\x1b]52;c;eA==\ad", "a\x1b\\b\x1b\\cd"},
		"C1 characters":                {"\u009d52;c;eA==\a\x9d52;c;eA==\u009c\u009b21t", "\ufffd52;c;eA==\a\ufffd52;c;eA==\ufffd\ufffd21t"},
		"C1 bytes in titles":           {"\x1b]0;✳ ✛⾛✜🜛\U0001cfd8a\a", pushTitle + "\x1b]0;claude-vm web: ✳ ⾛a\a"},
		"another encoding":             {"a\x1b%@\x1b G\x1b!%@\x1b(%5\x1b[62;0\"pb\x1b(0c", "ab\x1b(0c"},
		"prints":                       {"a\x1b[5i\x1b[?5i\x1b[ib", "ab"},
		"reads the screen":             {"a\x1b[1;1;1;1;10;10*yb", "ab"},
		"defines keys, controls kitty": {"a\x1bP0;1|17/17\x1b\\\x1bP@kitty-cmd{}\x1b\\\x1bP1$tb\x1b\\c", "ac"},
		"files of the host":            {"a\x1b_Ga=T,t=f;L2V0Yy9wYXNzd2Q=\x1b\\\x1b_Gt=t;AA\x1b\\\x1b]1337;File=name=YQ==:AAAA\a\x1b]1337;File=inline=1;inline=0:AA\a\x1b]7;file:///\a\x1b]50;x\ab", "ab"},
		"ConEmu executes programs":     {"a\x1b]9;7;\"sh\"\a\x1b]9;6;Shell()\a\x1b]9;4;1;\"x\"\a\x1b]9;10 files\ab\x1b]9;4\a", "a\x1b]9;10 files\ab\x1b]9;4\a"},
		"answers of notifications":     {"a\x1b]99;i=x:a=report,focus;t\x1b\\\x1b]99;c=1:i=x;t\x1b\\\x1b]99;i=x:p=?;\x1b\\\x1b]99;i=x:p=body;a=report\x1b\\b", "a\x1b]99;i=x:p=body;a=report\x1b\\b"},
		"containers of Ptyxis":         {"a\x1b]777;container;push;x;toolbox\ab", "ab"},
		"VT52, locator":                {"a\x1b[?2l\x1b[?25;02l\x1b[1;2'z\x1b[1'{\x1b[1;1;9;9'wb\x1b[2'}", "ab\x1b[2'}"},
		"answerback":                   {"a\x05b\x05", "ab"},
		"invalid":                      {"a\x1b[1?2h\x1b[1\nb\x1b]x\ac\x1b]\ad\x1b\x1b[1mе", "a\nbcd\x1b[1mе"},
		"invalid UTF-8":                {"a\xe2\x9d\x1b[1mb\xc2", "a\ufffd\ufffd\x1b[1mb"},
		"canceled":                     {"a\x1b]2;t\x18b\x1b[1\x1ac", "a" + "b\x1ac"},
		"too long":                     {"a\x1b[" + strings.Repeat("1;", 200) + "mb\x1b" + strings.Repeat(" ", 9) + "Fc\x1b]8;;" + strings.Repeat("x", maxText) + "\ad", "abcd"},
	} {
		if c.want == unchanged {
			c.want = c.in
		}
		if got := show(&Screen{Name: "web"}, c.in); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// TestClipboard checks that with Clipboard=yes the clipboard can be set, but not read.
func TestClipboard(t *testing.T) {
	const set = "\x1b]52;c;ZnJvbSB0aGUgZ3Vlc3Q=\a"
	s := &Screen{Clipboard: true}
	if got := show(s, set+"\x1b]52;c;?\a\x1b]52;c;a?\a\x1b]52;x;YQ==\a\x1b]52;p;\x1b\\"); got != set+"\x1b]52;p;\x1b\\" {
		t.Errorf("with Clipboard: %q", got)
	}
	if s.Denied() {
		t.Error("denied with Clipboard")
	}
	s = &Screen{}
	if got := show(s, "text"); got != "text" || s.Denied() {
		t.Errorf("%q, denied: %v", got, s.Denied())
	}
	if got := show(s, set); got != "" || !s.Denied() {
		t.Errorf("%q, denied: %v", got, s.Denied())
	}
}

// TestSilent checks that queries are dropped if nothing reads the answers.
func TestSilent(t *testing.T) {
	if got := show(&Screen{Silent: true}, "a\x1b[c\x1b[6n\x1b]11;?\a\x1bP$qm\x1b\\\x1bZ\x1b[?u\x1b[&u\x1b[#R\x1b[?4g\x1b]22;?__current__\a\x1b]11;#fff\a\x1b[1mb"); got != "a\x1b]11;#fff\a\x1b[1mb" {
		t.Errorf("%q", got)
	}
}

// TestAsked checks that only recent queries make the end wait.
func TestAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Screen{}
		show(s, "\x1b[1mtext\x1b[u")
		if s.Asked() {
			t.Error("asked without a query")
		}
		show(s, "\x1b]11;?\a")
		if !s.Asked() {
			t.Error("not asked after a query")
		}
		time.Sleep(time.Minute)
		if s.Asked() {
			t.Error("asked a minute after a query")
		}
	})
}

// TestReset checks that the alternate screen is left only if the program is in it, that the
// title is restored only if it was set, and that nothing is written afterwards.
func TestReset(t *testing.T) {
	for _, c := range []struct {
		parts         []string
		leaves, title bool
	}{
		{parts: []string{"text"}},
		{parts: []string{"\x1b[?1049h", "text"}, leaves: true},
		{parts: []string{"\x1b[?10", "49htext"}, leaves: true},
		{parts: []string{"\x1b[?1049h", "text\x1b[?1049l"}},
		{parts: []string{"\x1b[?47h"}, leaves: true},
		{parts: []string{"\x1b[?25;01049h"}, leaves: true},
		{parts: []string{"\x1b[?1049h\x1b[?1049l\x1b[?1049h"}, leaves: true},
		{parts: []string{"\x1b]2;a\a\x1b]2;b\a"}, title: true},
	} {
		s := &Screen{}
		show(s, c.parts...)
		reset := s.Reset()
		if got := strings.HasPrefix(reset, "\x1b[?1049l"); got != c.leaves {
			t.Errorf("%q: leaves the alternate screen: %v, want %v", c.parts, got, c.leaves)
		}
		if got := strings.Contains(reset, popTitle); got != c.title {
			t.Errorf("%q: restores the title: %v, want %v", c.parts, got, c.title)
		}
		if got := show(s, "late"); got != "" {
			t.Errorf("%q: written after the end: %q", c.parts, got)
		}
	}
}

// FuzzScreen checks that the output does not depend on how the input is split, and reads it
// with another parser: all sequences are complete, and none is forbidden.
func FuzzScreen(f *testing.F) {
	for _, seed := range []string{
		"text 漢字 \xe2\x9d\u009b", "\x1b]2;title\x1b\\\x1b]52;c;eA==\a", "\x1bPtmux;\x1b\x1b]52;c;eA==\a\x1b\\", "\x1b[?1049h\x1b[21t\x1b[5i",
		"\x1b_Gt=f;AA\x1b\\\x1b]8;;x\x1b]0;a\x07", "\x1b]1337;File=inline=1:AA\a\x1b%@\x1bP+q00\x1b\\\x1b[c", "\x1b!%@\x1b(%5\x1b! G",
		"\x1b]0;✳ ✛iiii\a", "\x1b]8;;\U0001cfd800\a", "\x1b_Gu=it=fDAA\x1b\\", "\x1b_G;At=fA\x1b\\",
	} {
		f.Add([]byte(seed), uint16(3))
	}
	f.Fuzz(func(t *testing.T, in []byte, size uint16) {
		whole := show(&Screen{Name: "web"}, string(in))
		for _, n := range []int{1, 2, int(size)%100 + 3} {
			var parts []string
			for rest := in; len(rest) > 0; rest = rest[min(n, len(rest)):] {
				parts = append(parts, string(rest[:min(n, len(rest))]))
			}
			if got := show(&Screen{Name: "web"}, parts...); got != whole {
				t.Fatalf("in parts of %d: %q, want %q", n, got, whole)
			}
		}
		wantHarmless(t, strings.ReplaceAll(whole, pushTitle, ""))
	})
}

// wantHarmless reads text with the parser of the guest's agent.
func wantHarmless(t *testing.T, text string) {
	t.Helper()
	if !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return 0x80 <= r && r < 0xa0 }) {
		t.Fatalf("%q is not UTF-8 or has C1 characters", text)
	}
	p := ansi.NewParser()
	p.SetHandler(ansi.Handler{
		HandleCsi: func(c ansi.Cmd, params ansi.Params) {
			first, _, _ := params.Param(0, 0)
			switch {
			case c.Final() == 't' && (first < 11 || first > 19 || c.Prefix() != 0 || c.Intermediate() != 0), c.Final() == 'i',
				c.Final() == 'y' && c.Intermediate() == '*':
				t.Errorf("control sequence %c%c%c %v", c.Prefix(), c.Intermediate(), c.Final(), params)
			}
		},
		HandleEsc: func(c ansi.Cmd) {
			if c.Final() == 'k' || c.Intermediate() == '%' || c.Intermediate() == ' ' {
				t.Errorf("escape sequence %c%c", c.Intermediate(), c.Final())
			}
		},
		HandleOsc: func(n int, data []byte) {
			title := n <= 2 && !bytes.Contains(data, []byte(";claude-vm web: "))
			if title || n == 3 || n == 7 || n == 50 || n == 52 || n == 5522 || n == 1337 && !bytes.Contains(data, []byte(";File=")) {
				t.Errorf("OSC %q", data)
			}
		},
		HandlePm:  func(data []byte) { t.Errorf("PM %q", data) },
		HandleSos: func(data []byte) { t.Errorf("SOS %q", data) },
		HandleApc: func(data []byte) {
			if data[0] != 'G' || bytes.Contains(data, []byte("t=f")) || bytes.Contains(data, []byte("t=t")) {
				t.Errorf("APC %q", data)
			}
		},
		HandleDcs: func(c ansi.Cmd, _ ansi.Params, _ []byte) {
			if c.Final() != 'q' && c.Final() != 's' {
				t.Errorf("DCS %c%c", c.Intermediate(), c.Final())
			}
		},
	})
	p.Parse([]byte(text))
	if s := p.State(); s != 0 {
		t.Errorf("%q ends within a sequence: state %v", text, s)
	}
}

// BenchmarkScreen measures the throughput of plain output and of that of a program that
// draws.
func BenchmarkScreen(b *testing.B) {
	for name, text := range map[string]string{
		"zeros":    strings.Repeat("\x00", 32<<10),
		"text":     strings.Repeat("all work and no play\r\n", 1500),
		"unicode":  strings.Repeat("漢字かな│─ é\r\n", 1000),
		"colours":  strings.Repeat("\x1b[38;2;1;2;3mword\x1b[0m ", 1200),
		"graphics": "\x1b_Gm=1;" + strings.Repeat("A", 32<<10) + "\x1b\\",
	} {
		b.Run(name, func(b *testing.B) {
			s := &Screen{W: io.Discard}
			p := []byte(text)
			b.SetBytes(int64(len(p)))
			b.ReportAllocs()
			for b.Loop() {
				s.Write(p)
			}
		})
	}
}
