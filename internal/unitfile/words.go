package unitfile

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Words are quoted here for three readers. Environment= lines and Split remove quotes
// and decode C escape sequences (EXTRACT_UNQUOTE|EXTRACT_CUNESCAPE in systemd). A
// $VARIABLE that is a word of its own in ExecStart= only has its quotes removed; there
// a backslash makes the next character literal (EXTRACT_UNQUOTE|EXTRACT_RELAX).

var errQuote = errors.New("a quote is not closed")

// Split splits a value into words at white space. Single and double quotes and C
// escape sequences are supported.
func Split(value string) ([]string, error) {
	var words []string
	for {
		value = strings.TrimLeft(value, " \t\n\r")
		if value == "" {
			return words, nil
		}
		word, rest, err := cutWord(value)
		if err != nil {
			return nil, err
		}
		if !utf8.ValidString(word) || strings.IndexByte(word, 0) >= 0 {
			return nil, fmt.Errorf("not valid text: %q", abridged(word))
		}
		words, value = append(words, word), rest
	}
}

// cutWord splits text after its first word. Text must not start with white space.
func cutWord(text string) (word, rest string, err error) {
	var b strings.Builder
	quote := byte(0)
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\':
			decoded, n, err := unescape(text[i:])
			if err != nil {
				return "", "", err
			}
			b.WriteString(decoded)
			i += n - 1
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case quote == 0 && strings.IndexByte(" \t\n\r", c) >= 0:
			return b.String(), text[i:], nil
		default:
			b.WriteByte(c)
		}
	}
	if quote != 0 {
		return "", "", errQuote
	}
	return b.String(), "", nil
}

// simple maps the one-letter escape sequences to their values. \s is an extension of
// systemd for the space.
var simple = map[byte]string{
	'a': "\a", 'b': "\b", 'f': "\f", 'n': "\n", 'r': "\r", 't': "\t", 'v': "\v",
	'\\': `\`, '"': `"`, '\'': "'", 's': " ",
}

// unescape decodes the escape sequence at the start of text. n is its length in bytes.
func unescape(text string) (decoded string, n int, err error) {
	if len(text) < 2 {
		return "", 0, errors.New("ends with a backslash")
	}
	if s, ok := simple[text[1]]; ok {
		return s, 2, nil
	}
	digits, base, skip := 0, 16, 2
	switch c := text[1]; {
	case c == 'x':
		digits = 2
	case c == 'u':
		digits = 4
	case c == 'U':
		digits = 8
	case '0' <= c && c <= '7':
		digits, base, skip = 3, 8, 1
	default:
		_, size := utf8.DecodeRuneInString(text[1:])
		return "", 0, fmt.Errorf(`unknown escape sequence %s; write \\ for a backslash`, text[:1+size])
	}
	n = skip + digits
	if len(text) < n {
		return "", 0, fmt.Errorf("incomplete escape sequence: %s", text)
	}
	v, err := strconv.ParseUint(text[skip:n], base, 32)
	bad := err != nil || v == 0 || digits <= 3 && v > 0xff || digits > 3 && !utf8.ValidRune(rune(v))
	if bad {
		return "", 0, fmt.Errorf("invalid escape sequence: %s", strings.ToValidUTF8(text[:n], "\ufffd"))
	}
	if digits <= 3 {
		return string([]byte{byte(v)}), n, nil
	}
	return string(rune(v)), n, nil
}

// Quote returns word on one line in a form that Split decodes: in double quotes if it
// has special characters, else unchanged.
func Quote(word string) string {
	if word != "" && strings.IndexFunc(word, special) < 0 {
		return word
	}
	return `"` + escape(word) + `"`
}

func special(r rune) bool {
	return r <= ' ' || r == '"' || r == '\'' || r == '\\' || r == 0x7f || '\u0080' <= r && r < '\u00a0' ||
		r == '#' || r == ';' // they start a comment if a caller puts the word at the start of a line
}

func escape(text string) string {
	if strings.IndexFunc(text, func(r rune) bool { return r != ' ' && special(r) }) < 0 {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\x%02x`, r)
		case '\u0080' <= r && r < '\u00a0':
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// Join quotes words and joins them with spaces, so that Split returns them.
func Join(words []string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		quoted[i] = Quote(word)
	}
	return strings.Join(quoted, " ")
}

// JoinPlain is Join for a reader in which a backslash makes the next character
// literal. Such a reader has no escape sequences, so control characters are an error.
func JoinPlain(words []string) (string, error) {
	quoted := make([]string, len(words))
	for i, word := range words {
		if strings.IndexFunc(word, func(r rune) bool { return r < ' ' || r == 0x7f }) >= 0 {
			return "", fmt.Errorf("%q contains a control character", word)
		}
		quoted[i] = word
		if word == "" || strings.IndexFunc(word, special) >= 0 {
			quoted[i] = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(word) + `"`
		}
	}
	return strings.Join(quoted, " "), nil
}

// EscapeSpecifiers escapes text for settings in which systemd expands specifiers.
func EscapeSpecifiers(text string) string { return strings.ReplaceAll(text, "%", "%%") }

// Environment returns the value of an Environment= line that sets a variable.
func Environment(name, value string) string {
	return `"` + EscapeSpecifiers(escape(name+"="+value)) + `"`
}
