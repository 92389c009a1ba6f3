package terminal

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Many sequences are documented in https://invisible-island.net/xterm/ctlseqs/ctlseqs.html.

// pushTitle and popTitle save and restore the terminal's title.
const (
	pushTitle = "\x1b[22;0t"
	popTitle  = "\x1b[23;0t"
)

// maxTitle limits a title, in characters.
const maxTitle = 256

// isText reports whether ESC c starts a control string: OSC, DCS, SOS, PM, APC, and the
// title of screen and tmux.
func isText(c byte) bool { return bytes.IndexByte([]byte("]PX^_k"), c) >= 0 }

// escape returns the escape sequence in s.seq if it is permitted.
func (s *Screen) escape() []byte {
	final := s.seq[len(s.seq)-1]
	switch {
	case len(s.seq) > maxEscape, len(s.seq) > 1 && (final == '[' || isText(final)):
		return nil
	case bytes.ContainsAny(s.seq, "% "):
		// Another encoding, in which parts of UTF-8 characters are control characters. Some
		// terminals read only the last intermediate character: ESC ! % @ is ESC % @ for them.
		return nil
	case final == 'Z' && !s.ask(): // asks what the terminal is
		return nil
	}
	return s.seq
}

// sizes are the reports of XTWINOPS that have only sizes.
var sizes = []string{"11", "13", "14", "15", "16", "18", "19"}

// control returns the control sequence in s.seq if it is permitted.
func (s *Screen) control() []byte {
	final := s.seq[len(s.seq)-1]
	prefix, parameters, intermediate, ok := splitControl(s.seq[1 : len(s.seq)-1])
	switch {
	case !ok || len(s.seq) > maxControl:
		return nil
	case final == 't' && (prefix != 0 || len(intermediate) > 0 || !isSize(string(parameters))):
		return nil // changes the window, reports its title, or changes the stack of titles
	case final == 'i': // prints
		return nil
	case final == 'p' && bytes.IndexByte(intermediate, '"') >= 0: // like ESC SP G, makes keys and answers start with U+009B
		return nil
	case final == 'y' && bytes.IndexByte(intermediate, '*') >= 0: // a checksum of what is on the screen
		return nil
	case bytes.IndexByte(intermediate, '\'') >= 0 && (final == 'w' || final == 'z' || final == '{'): // reports of a locator, which Reset does not end
		return nil
	case prefix == '?' && final == 'l' && slices.Contains(modes(parameters), "2"): // VT52, which has other sequences
		return nil
	case prefix == '?' && (final == 'h' || final == 'l'):
		s.setModes(modes(parameters), final == 'h')
	case isQuery(prefix, final, intermediate) && !s.ask():
		return nil
	}
	return s.seq
}

// splitControl splits a control sequence without its first and final characters: into a
// prefix, which is 0 if there is none, parameters and intermediate characters.
func splitControl(body []byte) (prefix byte, parameters, intermediate []byte, ok bool) {
	if len(body) > 0 && '<' <= body[0] {
		prefix, body = body[0], body[1:]
	}
	i := 0
	for i < len(body) && '0' <= body[i] && body[i] <= ';' {
		i++
	}
	for _, c := range body[i:] {
		if c > '/' {
			return 0, nil, nil, false
		}
	}
	return prefix, body[:i], body[i:], true
}

func isSize(parameters string) bool {
	first, _, _ := strings.Cut(parameters, ";")
	return slices.Contains(sizes, first)
}

// modes returns the numbers of modes in parameters, without leading zeros.
func modes(parameters []byte) []string {
	all := strings.Split(string(parameters), ";")
	for i := range all {
		all[i] = strings.TrimLeft(all[i], "0")
	}
	return all
}

// setModes remembers whether the program is in the alternate screen.
func (s *Screen) setModes(modes []string, on bool) {
	for _, mode := range modes {
		switch mode {
		case "47", "1047", "1049":
			s.alternate = on
		}
	}
}

// isQuery reports whether the terminal answers a control sequence.
func isQuery(prefix, final byte, intermediate []byte) bool {
	switch final {
	case 'u', 'm', 'S', 'g', 'R': // flags of the keyboard, key modifiers, limits of graphics, formats of keys; state of the terminal, colours
		return prefix == '?' || len(intermediate) > 0
	case 'c', 'n', 'p', 'q', 't', 'v', 'w', 'x', 'y', '|': // device attributes, status, modes, …
		return true
	}
	return false
}

// text returns the control string in s.seq, with its end, if it is permitted.
func (s *Screen) text(end string) []byte {
	if len(s.seq) > maxText {
		return nil
	}
	kind, body := s.seq[0], strings.Map(printable, strings.ToValidUTF8(string(s.seq[1:]), ""))
	switch kind {
	case ']':
		body = s.osc(body)
	case 'P':
		body = s.dcs(body)
	case '_':
		body = s.graphics(body)
	default: // a title of screen or tmux, a message of screen, or nothing
		return nil
	}
	if body == "" {
		return nil
	}
	return []byte(string(kind) + body + end)
}

// printable drops from a control string control characters, and characters in which some
// terminals find them: for these a byte 9C, as in the title of Claude Code, ends the string
// in the middle of a character, and what remains of the character can start a sequence.
func printable(r rune) rune {
	switch {
	case r < ' ', 0x7f <= r && r < 0xa0:
		return -1
	case r < utf8.RuneSelf:
		return r
	}
	text := utf8.AppendRune(nil, r)
	if _, rest, found := bytes.Cut(text, []byte{0x9c}); found && slices.ContainsFunc(rest, func(b byte) bool { return b < 0xa0 }) {
		return -1
	}
	return r
}

// osc returns the operating system command that is passed for body; empty for none.
func (s *Screen) osc(body string) string {
	digits, rest, found := strings.Cut(body, ";")
	number, err := strconv.ParseUint(digits, 10, 16)
	if err != nil {
		return ""
	}
	if found {
		rest = ";" + rest
	}
	switch number {
	case 0, 1, 2: // title of window and icon
		return fmt.Sprintf("%d;%s", number, s.title(strings.TrimPrefix(rest, ";")))
	case 52:
		return s.clipboard(body)
	case 1337: // of iTerm2: only images. Others set the clipboard, write files, open URLs, …
		if !imageText.MatchString(rest) {
			return ""
		}
	case 9: // of iTerm2, a notification; of ConEmu, commands with a number, of which one executes programs
		if commandNumber.MatchString(rest) && !progressText.MatchString(rest) {
			return ""
		}
	case 99: // of kitty: a notification can send an answer much later, when it is clicked
		if answerText.MatchString(rest) {
			return ""
		}
	case 777: // other commands change what the terminal's next tab runs in
		if !strings.HasPrefix(rest, ";notify;") {
			return ""
		}
	case 4, 5, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 21, 22, 104, 105, 110, 111, 112, 113, 114, 115, 116, 117, 118, 119: // colours, pointer
		if strings.Contains(rest, "?") && !s.ask() {
			return ""
		}
	case 8, 66, 133, 7501, 21337: // links, text size, prompts, status
	default:
		return ""
	}
	return strconv.FormatUint(number, 10) + rest
}

// A command of ConEmu, and the one that shows progress.
var (
	commandNumber = regexp.MustCompile(`^;[0-9]+(;|$)`)
	progressText  = regexp.MustCompile(`^;4(;[0-9]*){0,2}$`)
)

// answerText are notifications of kitty that the terminal answers: queries, and reports when they are clicked or closed.
var answerText = regexp.MustCompile(`^;(?:[^;]*:)?(?:a=[^:;]*report|c=1|p=(?:\?|alive))`)

// imageText is an image in iTerm2's protocol. With another value of inline, the terminal would
// write a file.
var imageText = regexp.MustCompile(`^;File=(?:(?:name|size|width|height|preserveAspectRatio|type)=[^;:]*;)*inline=1(?:;(?:name|size|width|height|preserveAspectRatio|type)=[^;:]*)*:[A-Za-z0-9+/=]*$`)

// title returns the title to set for one that the program sets. Before the first one, it
// saves the title that the user has.
func (s *Screen) title(text string) string {
	if !s.titled {
		s.titled = true
		s.out = append(s.out, pushTitle...)
	}
	return Title(s.Name, text)
}

// Title returns text as the title of a terminal that shows the VM name, without control
// characters and those that change the direction of text.
func Title(name, text string) string {
	clean := strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == utf8.RuneError {
			return -1
		}
		return r
	}, "claude-vm "+name+": "+text)
	if r := []rune(clean); len(r) > maxTitle {
		clean = string(r[:maxTitle-1]) + "…"
	}
	return clean
}

// clipboardText is a command that sets the clipboard. One with "?" would read it.
var clipboardText = regexp.MustCompile(`^52;[cpqs0-7]*;[A-Za-z0-9+/=]*$`)

func (s *Screen) clipboard(body string) string {
	if !s.Clipboard {
		s.denied = true
		return ""
	}
	if !clipboardText.MatchString(body) {
		return ""
	}
	return body
}

// deviceControl are permitted control strings: queries of settings and capabilities, sixel
// images, synchronised output. Others define keys, pass through tmux to the terminal
// outside of it, or control kitty.
var deviceControl = regexp.MustCompile(`^([$+]q[ -~]*|[0-9;]*q[ -~]*|=[12]s)$`)

func (s *Screen) dcs(body string) string {
	if !deviceControl.MatchString(body) || !s.ask() {
		return ""
	}
	return body
}

// graphicsText is an image in kitty's protocol. With the key t, the terminal would read, and
// with t=t delete, a file. Values are numbers or a letter: no terminal must find a key in one.
var graphicsText = regexp.MustCompile(`^G((?:[a-su-zA-Z]=[-A-Za-z0-9]*|t=d)(?:,(?:[a-su-zA-Z]=[-A-Za-z0-9]*|t=d))*)?(;[A-Za-z0-9+/]*={0,2})?$`)

func (s *Screen) graphics(body string) string {
	if !graphicsText.MatchString(body) || !s.ask() {
		return ""
	}
	return body
}
