package vmfile

import (
	"fmt"
	"strings"

	"github.com/t0mpr1c3/claude-microvm/internal/instance"
)

// Template is the text of a new file for a work directory, or without one of
// defaults.conf: all keys with their defaults, as comments.
func Template(dir string, p instance.Paths) string {
	var b strings.Builder
	b.WriteString("# See claude-vm.vm(5). What begins with # is a comment, and here the default.\n")
	section := ""
	for _, k := range Keys {
		if k.Section != section {
			section = k.Section
			fmt.Fprintf(&b, "\n[%s]\n", section)
		}
		switch {
		case k.Name == "WorkDirectory" && dir == "":
		case k.Name == "WorkDirectory":
			fmt.Fprintf(&b, "WorkDirectory=%s\n", abbreviate(dir, p))
		case strings.Contains(k.Default, " "): // said in words
			fmt.Fprintf(&b, "\n# %s; default: %s\n#%s=\n", k.Doc, k.Default, k.Name)
		default:
			fmt.Fprintf(&b, "\n# %s\n#%s=%s\n", k.Doc, k.Name, k.Default)
		}
	}
	return b.String()
}

// abbreviate is the inverse of expand, for a path.
func abbreviate(path string, p instance.Paths) string {
	below, found := strings.CutPrefix(path, p.Home+"/")
	below = strings.ReplaceAll(below, "%", "%%")
	if found {
		return "%h/" + below
	}
	return below
}
