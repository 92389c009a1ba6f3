package vmfile

import (
	"fmt"
	"strings"
)

// didYouMean returns a hint if name is one edit away from a known name; else "".
func didYouMean(form, name string, known []string) string {
	for _, candidate := range known {
		if nearly(strings.ToLower(name), strings.ToLower(candidate)) {
			return fmt.Sprintf("did you mean "+form+"?", candidate)
		}
	}
	return ""
}

// nearly reports whether a and b are equal or one edit apart: one byte added, removed or
// replaced, or two adjacent bytes swapped.
func nearly(a, b string) bool {
	for len(a) > 0 && len(b) > 0 && a[0] == b[0] {
		a, b = a[1:], b[1:]
	}
	for len(a) > 0 && len(b) > 0 && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	return len(a) <= 1 && len(b) <= 1 || len(a) == 2 && len(b) == 2 && a[0] == b[1] && a[1] == b[0]
}
