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

// Unit is one of the three of an instance.
type Unit int

// In the order in which a half-written set of drop-ins does the least harm.
const (
	Setup Unit = iota
	Share
	Machine
	units
)

// Base is what instances differ from: the units as they are, or what holds for
// all VMs.
type Base struct {
	vm        VM
	variables [variables]variable
	lists     [lists]list
	err       error
}

// Base prepares v for being one. Prepared for each VM again, it costs 11 % more user
// time with 1000 files.
func (v VM) Base() Base {
	return Base{vm: v, variables: v.variables(), lists: v.lists(), err: v.writable()}
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
	for i, w := range v.variables() {
		if w.value == b.variables[i].value {
			continue
		}
		for _, unit := range w.units {
			out[unit] = append(out[unit], w.line())
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

// variable is an environment variable of one unit, or of two.
type variable struct {
	key         string // for messages
	name, value string
	units       []Unit
}

func (w variable) line() string { return "Environment=" + unitfile.Environment(w.name, w.value) }

var (
	ofSetup   = []Unit{Setup}
	ofMachine = []Unit{Machine}
	ofBoth    = []Unit{Setup, Machine}
)

// Arrays, which need no allocation: 7 % of user time with 1000 files.
const (
	variables = 17
	lists     = 6
)

func (v VM) variables() [variables]variable {
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
	forwardAgent := ""
	if v.ForwardAgent {
		forwardAgent = "yes"
	}
	network, _ := unitfile.JoinPlain(v.network()) // all of it is ours
	qemuArguments, _ := unitfile.JoinPlain(v.QEMUArguments)
	return [variables]variable{
		{"Refusal", "REFUSAL", v.Refusal, ofSetup},
		{"Refusal", "REFUSAL_HINT", v.RefusalHint, ofSetup},
		{"WorkDirectory", "WORK_DIRECTORY", long, ofSetup},
		{"Memory", "MEMORY", strconv.FormatUint(v.Memory>>20, 10) + "M", ofMachine},
		{"CPUs", "CPUS", strconv.Itoa(v.CPUs), ofMachine},
		{"Accelerator", "ACCELERATOR", accelerator, ofMachine},
		{"Guest", "GUEST", v.Guest, ofBoth},
		{"Arguments", "CLAUDE_ARGUMENTS", unitfile.Join(arguments), ofMachine},
		{"Environment", "CLAUDE_ENVIRONMENT", unitfile.Join(v.Environment), ofMachine},
		{"Terminal", "CLAUDE_TERMINAL", v.Terminal, ofMachine},
		{"ForwardAgent", "FORWARD_AGENT", forwardAgent, ofBoth},
		{"SettingsFile", "SETTINGS_FILE", v.SettingsFile, ofSetup},
		{"Home", "CLAUDE_HOME", v.Home, ofBoth},
		{"Mount", "MOUNTS", unitfile.Join(sources), ofSetup},
		{"Mount", "MOUNTS", unitfile.Join(targets), ofMachine},
		// Of QEMU's command line, whose reader knows no escapes.
		{"PublishPort", "NETWORK", network, ofMachine},
		{"QEMUArguments", "QEMU_ARGUMENTS", qemuArguments, ofMachine},
	}
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
