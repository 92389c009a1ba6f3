package vm

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/t0mpr1c3/claude-microvm/internal/unitfile"
)

// Unit is one of the three of an instance.
type Unit int

// In the order in which a half-written set of drop-ins does the least harm.
const (
	Setup Unit = iota
	Share
	Machine
	units
)

// setting is what one aspect of a VM means for one unit: lines of its [Service].
// Those of a list come after what others have put there; reset empties it.
type setting struct {
	unit  Unit
	lines []string
	reset string
}

// from gives the lines that turn base into s.
func (s setting) from(base setting) []string {
	n := len(base.lines)
	switch {
	case slices.Equal(s.lines, base.lines):
		return nil
	case n <= len(s.lines) && slices.Equal(s.lines[:n], base.lines):
		return s.lines[n:]
	case s.reset == "":
		return s.lines
	}
	return append([]string{s.reset}, s.lines...)
}

// Lines gives the lines of each unit's [Service] that turn an instance of
// base, or of the units as they are, into one of v. It fails for what cannot be
// undone or written.
func (v VM) Lines(base VM) ([units][]string, error) {
	var out [units][]string
	if base.Guest != "" && v.Guest == "" {
		return out, fmt.Errorf("Guest=%s of defaults.conf cannot be undone: name another", base.Guest)
	}
	theirs, err := base.settings()
	if err != nil {
		return out, err
	}
	ours, err := v.settings()
	if err != nil {
		return out, err
	}
	for i, s := range ours {
		out[s.unit] = append(out[s.unit], s.from(theirs[i])...)
	}
	return out, nil
}

// variable is an environment variable of one unit, or of two.
type variable struct {
	key         string // for messages
	name, value string
	units       []Unit
}

func (v VM) variables() []variable {
	both := []Unit{Setup, Machine}
	var targets, sources []string
	for i, m := range v.Mounts {
		targets = append(targets, m.name(i), m.Guest)
		sources = append(sources, m.name(i), m.Host)
	}
	arguments := v.Arguments
	if v.SkipPermissions {
		arguments = append([]string{"--dangerously-skip-permissions"}, arguments...)
	}
	accelerator := v.Accelerator
	if accelerator == "auto" {
		accelerator = "kvm:tcg"
	}
	long := ""
	if v.Long {
		long = v.WorkDirectory
	}
	return []variable{
		{"Refusal", "REFUSAL", v.Refusal, []Unit{Setup}},
		{"WorkDirectory", "WORK_DIRECTORY", long, []Unit{Setup}},
		{"Memory", "MEMORY", fmt.Sprintf("%dM", v.Memory), []Unit{Machine}},
		{"CPUs", "CPUS", fmt.Sprint(v.CPUs), []Unit{Machine}},
		{"Accelerator", "ACCELERATOR", accelerator, []Unit{Machine}},
		{"Guest", "GUEST", v.Guest, both},
		{"Arguments", "CLAUDE_ARGUMENTS", unitfile.Join(arguments), []Unit{Machine}},
		{"Environment", "CLAUDE_ENVIRONMENT", unitfile.Join(v.Environment), []Unit{Machine}},
		{"Terminal", "CLAUDE_TERMINAL", v.Terminal, []Unit{Machine}},
		{"SettingsFile", "SETTINGS_FILE", v.SettingsFile, []Unit{Setup}},
		{"Home", "CLAUDE_HOME", v.Home, both},
		{"Mount", "MOUNTS", unitfile.Join(sources), []Unit{Setup}},
		{"Mount", "MOUNTS", unitfile.Join(targets), []Unit{Machine}},
	}
}

// plainVariables are those of QEMU's command line, whose reader knows no escapes.
func (v VM) plainVariables() []variable {
	network, _ := unitfile.JoinPlain(v.network()) // all of it is ours
	arguments, _ := unitfile.JoinPlain(v.QEMUArguments)
	return []variable{
		{"PublishPort", "NETWORK", network, []Unit{Machine}},
		{"QEMUArguments", "QEMU_ARGUMENTS", arguments, []Unit{Machine}},
	}
}

// settings lists all aspects, always as many and in the same order.
func (v VM) settings() ([]setting, error) {
	var all []setting
	for _, w := range v.variables() {
		for _, unit := range w.units {
			all = append(all, setting{unit, []string{assignment(w.name, w.value)}, ""})
		}
	}
	if _, err := unitfile.JoinPlain(v.QEMUArguments); err != nil {
		return nil, fmt.Errorf("QEMUArguments=: %w", err)
	}
	for _, w := range v.plainVariables() {
		all = append(all, setting{Machine, []string{assignment(w.name, w.value)}, ""})
	}
	return append(all,
		setting{Machine, v.guestLines(), ""},
		setting{Machine, v.credentialLines(), "LoadCredential="},
		setting{Share, pathLines("InaccessiblePaths", v.Hide), "InaccessiblePaths="},
		setting{Share, pathLines("ReadOnlyPaths", v.ReadOnly), "ReadOnlyPaths="},
		setting{Share, pathLines("ReadWritePaths", v.anchors()), "ReadWritePaths="},
		setting{Share, v.mountLines(), ""},
	), nil
}

func assignment(name, value string) string {
	return "Environment=" + unitfile.Environment(name, value)
}

func (v VM) guestLines() []string {
	if v.Guest == "" {
		return nil
	}
	guest := unitfile.EscapeSpecifiers(v.Guest)
	return []string{
		"EnvironmentFile=",
		"EnvironmentFile=" + guest + "/guest.env",
		`BindReadOnlyPaths="-` + guest + `"`,
	}
}

// network gives QEMU's arguments for the network card.
func (v VM) network() []string {
	if v.Network == "none" {
		return nil
	}
	netdev := "user,id=net0"
	for _, p := range v.Ports {
		netdev += fmt.Sprintf(",hostfwd=%s:%s:%d-:%d", p.Protocol, p.Address, p.Host, p.Guest)
	}
	return []string{"-netdev", netdev, "-device", "virtio-net-pci,netdev=net0,romfile="}
}

func (v VM) credentialLines() []string {
	var lines []string
	for _, c := range v.Credentials {
		file := unitfile.EscapeSpecifiers(c.Path)
		if c.Path == "" {
			file = "%h/.config/credstore/" + c.Name
		}
		lines = append(lines, "LoadCredential="+c.Name+":"+file)
	}
	return lines
}

// shared is where virtiofsd's unit has the work directory.
const shared = "%h/share/work"

// pathLines are a list of paths in the work directory. What does not exist when
// the instance starts is left out.
func pathLines(key string, paths []string) []string {
	var lines []string
	for _, p := range paths {
		full := unitfile.EscapeSpecifiers(path.Join("/", p))
		if p == "." {
			full = ""
		}
		// Quoted for a reader that knows no escapes but of the next character.
		quoted, err := unitfile.JoinPlain([]string{"-" + shared + full})
		if err != nil {
			continue // refused when it was read
		}
		lines = append(lines, key+"="+quoted)
	}
	return lines
}

// anchors are the directories above the paths that are protected. They become
// mounts of their own, or the guest would rename them and make them anew.
func (v VM) anchors() []string {
	var anchors []string
	for _, p := range slices.Concat(v.ReadOnly, v.Hide) {
		for dir := path.Dir(p); dir != "."; dir = path.Dir(dir) {
			inside := func(other string) bool { return below(dir, other) }
			if !slices.Contains(anchors, dir) && !slices.ContainsFunc(v.ReadOnly, inside) && !slices.ContainsFunc(v.Hide, inside) {
				anchors = append(anchors, dir)
			}
		}
	}
	return anchors
}

// name is that of the mount in the share, and of the link that leads there.
func (m Mount) name(i int) string {
	if m.ReadOnly {
		return fmt.Sprint("ro", i)
	}
	return fmt.Sprint("rw", i)
}

// mountLines bind what setup has made links to; the links decide what is there.
func (v VM) mountLines() []string {
	var lines []string
	for i, m := range v.Mounts {
		key := "BindPaths"
		if m.ReadOnly {
			key = "BindReadOnlyPaths"
		}
		lines = append(lines, strings.ReplaceAll(key+"=-%t/claude-vm/.%i.share/NAME:%h/share/NAME", "NAME", m.name(i)))
	}
	return lines
}
