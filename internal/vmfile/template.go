package vmfile

import (
	"fmt"
	"strings"

	"github.com/t0mpr1c3/claude-microvm/internal/instance"
)

// Template returns the text of a new .vm file for a work directory, or of defaults.conf
// if dir is empty. All other keys are comments with their defaults.
func Template(dir string, p instance.Paths) string {
	var b strings.Builder
	b.WriteString("# See claude-vm.vm(5). Lines that start with # are comments and show the defaults.\n")
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
		case strings.Contains(k.Default, " "): // a description, not a value
			fmt.Fprintf(&b, "\n# %s; default: %s\n#%s=\n", k.Doc, k.Default, k.Name)
		default:
			fmt.Fprintf(&b, "\n# %s\n#%s=%s\n", k.Doc, k.Name, k.Default)
		}
	}
	return b.String()
}

// abbreviate returns a path as a value of a .vm file, with %h for the home directory.
func abbreviate(path string, p instance.Paths) string {
	below, found := strings.CutPrefix(path, p.Home+"/")
	below = strings.ReplaceAll(below, "%", "%%")
	if found {
		return "%h/" + below
	}
	return below
}
