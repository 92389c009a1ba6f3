package main

import (
	"errors"
	"strings"
)

// splitWords stands in for unitfile.Split.
func splitWords(text string) ([]string, error) {
	var words []string
	var b strings.Builder
	quote, open, escaped := rune(0), false, false
	for _, r := range text {
		switch {
		case escaped:
			b.WriteRune(r)
			escaped = false
		case r == '\\':
			escaped, open = true, true
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '"' || r == '\''):
			quote, open = r, true
		case quote == 0 && (r == ' ' || r == '\t' || r == '\n'):
			if open {
				words = append(words, b.String())
			}
			b.Reset()
			open = false
		default:
			b.WriteRune(r)
			open = true
		}
	}
	if open {
		words = append(words, b.String())
	}
	if quote != 0 || escaped {
		return nil, errors.New("a quote is not closed")
	}
	return words, nil
}
