package gitdir

import "strings"

// coreWorktree returns core.worktree of a git configuration file; empty if it is not set. It
// reads the syntax that git writes, without includes: git itself may not be installed, or not
// be in the PATH of the user manager.
func coreWorktree(file string) string {
	section, value := "", ""
	for line := range strings.Lines(readFile(file)) {
		line = strings.TrimSpace(line)
		if name, found := strings.CutPrefix(line, "["); found {
			section, _, _ = strings.Cut(name, "]")
			continue
		}
		key, text, found := strings.Cut(line, "=")
		if found && strings.EqualFold(section, "core") && strings.EqualFold(strings.TrimSpace(key), "worktree") {
			value = unquote(strings.TrimSpace(text))
		}
	}
	return value
}

// unquote removes quotes and escapes from a value; see "Values" in git-config(1). It ignores a
// comment at the end, and spaces before it that are not quoted.
func unquote(text string) string {
	var b strings.Builder
	quoted, end := false, 0 // end is the length of the value without unquoted spaces at its end
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '"':
			quoted = !quoted
			continue
		case c == '\\' && i+1 < len(text):
			i++
			b.WriteString(strings.NewReplacer("n", "\n", "t", "\t", "b", "\b").Replace(text[i : i+1]))
		case !quoted && (c == '#' || c == ';'):
			return b.String()[:end]
		default:
			b.WriteByte(c)
		}
		if quoted || c != ' ' && c != '\t' {
			end = b.Len()
		}
	}
	return b.String()[:end]
}
