package vm

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/t0mpr1c3/claude-microvm/internal/unitfile"
)

// Unit is a unit of an instance that has settings. The zero value stands for none.
type Unit int

// The units with settings: claude-vm-setup@, claude-vm-virtiofsd@ and claude-vm@.
// instance.Part.Settings assigns them to the parts of an instance.
const (
	Setup Unit = 1 + iota
	Share
	Machine
	units // length of an array with an element per unit
)

// Base is what instances differ from: the units as they are, or what holds for
// all VMs.
type Base struct {
	vm     VM
	values values
	lists  [lists]list
	err    error
}

// Base prepares v for being one. Prepared for each VM again, it costs 11 % more user
// time with 1000 files.
func (v VM) Base() Base {
	return Base{vm: v, values: v.values(), lists: v.lists(), err: v.writable()}
}

// writable fails for words that no line can carry.
func (v VM) writable() error {
	if _, err := unitfile.JoinPlain(v.QEMUArguments); err != nil {
		return fmt.Errorf("QEMUArguments=: %w", err)
	}
	return nil
}

// Lines gives the lines of each unit's [Service] that make an instance of the base
// one of v. It fails for what cannot be undone or written.
func (b Base) Lines(v VM) ([units][]string, error) {
	var out [units][]string
	if err := cmp.Or(b.err, v.writable()); err != nil {
		return out, err
	}
	if b.vm.Guest != "" && v.Guest == "" {
		file := "defaults.conf"
		if b.vm.Name != "" {
			file = b.vm.Name + ".vm"
		}
		return out, fmt.Errorf("Guest=%s of %s cannot be undone: name another", b.vm.Guest, file)
	}
	for i, value := range v.values() {
		if value == b.values[i] {
			continue
		}
		for _, unit := range Settings[i].units {
			out[unit] = append(out[unit], Settings[i].line(value))
		}
	}
	for i, l := range v.lists() {
		out[l.unit] = append(out[l.unit], l.from(b.lists[i])...)
	}
	return out, nil
}

// Refused is a VM that has v's refusal and is otherwise as all are.
func (b Base) Refused(v VM) VM {
	r := b.vm.Clone()
	r.Refusal, r.RefusalHint, r.Source = v.Refusal, v.RefusalHint, v.Source
	r.Unit, r.Service, r.Links = nil, nil, nil
	return r
}

// Setting is an environment variable by which the value of a key reaches a unit.
// Where it is absent the unit's default holds.
type Setting struct {
	Key  string // of .vm files
	Name string // of the variable
	// Recorded says that setup reads the value, written as in a .vm file.
	Recorded bool
	units    []Unit
	value    func(v *VM) string
}

var (
	ofSetup   = []Unit{Setup}
	ofMachine = []Unit{Machine}
	ofBoth    = []Unit{Setup, Machine}
)

// Settings are all variables. Those of the VM's unit alone are what QEMU's command
// line needs.
var Settings = [...]Setting{
	{"Refusal", "REFUSAL", false, ofSetup, func(v *VM) string { return v.Refusal }},
	{"Refusal", "REFUSAL_HINT", false, ofSetup, func(v *VM) string { return v.RefusalHint }},
	{"WorkDirectory", "WORK_DIRECTORY", false, ofSetup, longDirectory},
	{"Memory", "MEMORY", true, ofMachine, func(v *VM) string { return strconv.FormatUint(v.Memory>>20, 10) + "M" }},
	{"CPUs", "CPUS", true, ofMachine, func(v *VM) string { return strconv.Itoa(v.CPUs) }},
	{"Accelerator", "ACCELERATOR", false, ofMachine, accelerator},
	{"Guest", "GUEST", true, ofBoth, func(v *VM) string { return v.Guest }},
	{"Arguments", "CLAUDE_ARGUMENTS", true, ofSetup, arguments},
	{"Environment", "CLAUDE_ENVIRONMENT", true, ofSetup, func(v *VM) string { return unitfile.Join(v.Environment) }},
	{"Terminal", "CLAUDE_TERMINAL", true, ofSetup, func(v *VM) string { return v.Terminal }},
	{"ForwardAgent", "FORWARD_AGENT", true, ofSetup, forwardAgent},
	{"SettingsFile", "SETTINGS_FILE", true, ofSetup, func(v *VM) string { return v.SettingsFile }},
	{"Home", "CLAUDE_HOME", true, ofSetup, func(v *VM) string { return v.Home }},
	{"Mount", "MOUNTS", true, ofSetup, func(v *VM) string { return unitfile.Join(texts(v.Mounts)) }},
	{"PublishPort", "PORTS", true, ofSetup, func(v *VM) string { return unitfile.Join(texts(v.Ports)) }},
	// Of QEMU's command line, whose reader knows no escapes.
	{"PublishPort", "NETWORK", false, ofMachine, network},
	{"QEMUArguments", "QEMU_ARGUMENTS", false, ofMachine, qemuArguments},
}

// Value is what the variable has for v.
func (s *Setting) Value(v *VM) string { return s.value(v) }

func (s *Setting) line(value string) string {
	return "Environment=" + unitfile.Environment(s.Name, value)
}

// Arrays, which need no allocation: 7 % of user time with 1000 files.
type values [len(Settings)]string

const lists = 6

func (v *VM) values() (all values) {
	for i := range Settings {
		all[i] = Settings[i].value(v)
	}
	return all
}

func longDirectory(v *VM) string {
	if v.Long {
		return v.WorkDirectory
	}
	return ""
}

func accelerator(v *VM) string {
	if v.Accelerator == "auto" {
		return "kvm:tcg"
	}
	return v.Accelerator
}

func arguments(v *VM) string {
	if v.SkipPermissions {
		return unitfile.Join(append([]string{"--dangerously-skip-permissions"}, v.Arguments...))
	}
	return unitfile.Join(v.Arguments)
}

func forwardAgent(v *VM) string {
	if v.ForwardAgent {
		return "yes"
	}
	return ""
}

func network(v *VM) string {
	text, _ := unitfile.JoinPlain(v.network()) // no setting is in it as it was written
	return text
}

func qemuArguments(v *VM) string {
	text, _ := unitfile.JoinPlain(v.QEMUArguments) // see writable
	return text
}

// texts are the values as they are written in a .vm file.
func texts[T fmt.Stringer](values []T) []string {
	var all []string
	for _, value := range values {
		all = append(all, value.String())
	}
	return all
}

// list is what settings mean for a list of a unit, whose lines come after what
// others have put there.
type list struct {
	unit   Unit
	key    string
	values []string
	// lines makes them of key and values.
	lines func(key string, values []string) []string
	// reset empties the list.
	reset string
}

func (v VM) lists() [lists]list {
	return [lists]list{
		{Machine, "", v.guestLines(), asTheyAre, ""},
		{Machine, "", v.credentialLines(), asTheyAre, "LoadCredential="},
		{Share, "InaccessiblePaths", v.Hide, pathLines, "InaccessiblePaths="},
		{Share, "ReadOnlyPaths", v.ReadOnly, pathLines, "ReadOnlyPaths="},
		{Share, "ReadWritePaths", v.anchors(), pathLines, "ReadWritePaths="},
		{Share, "", v.mountLines(), asTheyAre, ""},
	}
}

func asTheyAre(_ string, lines []string) []string { return lines }

// from gives the lines that turn base into l.
func (l list) from(base list) []string {
	if slices.Equal(l.values, base.values) {
		return nil
	}
	ours, theirs := l.lines(l.key, l.values), base.lines(base.key, base.values)
	n := len(theirs)
	switch {
	case n <= len(ours) && slices.Equal(ours[:n], theirs):
		return ours[n:]
	case l.reset == "":
		return ours
	}
	return append([]string{l.reset}, ours...)
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

// ShareName is the name of the i-th mount in the share.
func (m Mount) ShareName(i int) string {
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
		lines = append(lines, strings.ReplaceAll(key+"=-%t/claude-vm/.%i.share/NAME:%h/share/NAME", "NAME", m.ShareName(i)))
	}
	return lines
}
