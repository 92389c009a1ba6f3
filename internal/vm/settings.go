package vm

import (
	"fmt"
	"strconv"

	"github.com/t0mpr1c3/claude-microvm/internal/unitfile"
)

// Setting is an environment variable of a unit that holds the value of a key. If a
// drop-in does not set it, the unit's default applies.
type Setting struct {
	Key  string // of .vm files
	Name string // of the variable
	// Recorded means that the setup step parses the value with the key's parser.
	Recorded bool
	units    []Unit
	value    func(v *VM) string
}

var (
	ofSetup   = []Unit{Setup}
	ofMachine = []Unit{Machine}
	ofBoth    = []Unit{Setup, Machine}
)

// Settings lists all variables. Variables of claude-vm@ alone are for QEMU's command
// line.
var Settings = [...]Setting{
	{"Refusal", "REFUSAL", false, ofSetup, func(v *VM) string { return v.Refusal }},
	{"Refusal", "REFUSAL_HINT", false, ofSetup, func(v *VM) string { return v.RefusalHint }},
	{"WorkDirectory", "WORK_DIRECTORY", false, ofSetup, longDirectory},
	{"Memory", "MEMORY", true, ofMachine, func(v *VM) string { return strconv.FormatUint(v.Memory>>20, 10) + "M" }},
	{"CPUs", "CPUS", true, ofMachine, func(v *VM) string { return strconv.Itoa(v.CPUs) }},
	{"Scratch", "SCRATCH", true, ofSetup, scratch},
	{"Resume", "RESUME", true, ofSetup, func(v *VM) string { return yesNo(v.Resume) }},
	{"Accelerator", "ACCELERATOR", false, ofMachine, accelerator},
	{"Guest", "GUEST", true, ofBoth, func(v *VM) string { return v.Guest }},
	{"Guest", "GUEST_IMAGE", true, ofSetup, func(v *VM) string { return v.Image }},
	{"Guest", "IMAGE", false, ofMachine, (*VM).imageDisk},
	{"Insecure", "INSECURE", true, ofSetup, func(v *VM) string { return unitfile.Join(v.Insecure) }},
	{"Arguments", "CLAUDE_ARGUMENTS", true, ofSetup, arguments},
	{"Environment", "CLAUDE_ENVIRONMENT", true, ofSetup, func(v *VM) string { return unitfile.Join(v.Environment) }},
	{"Terminal", "CLAUDE_TERMINAL", true, ofSetup, func(v *VM) string { return v.Terminal }},
	{"Clipboard", "CLIPBOARD", true, ofSetup, func(v *VM) string { return yesNo(v.Clipboard) }},
	{"ForwardAgent", "FORWARD_AGENT", true, ofSetup, forwardAgent},
	{"SettingsFile", "SETTINGS_FILE", true, ofSetup, func(v *VM) string { return v.SettingsFile }},
	{"UserConfig", "USER_CONFIG", true, ofSetup, func(v *VM) string { return yesNo(v.UserConfig) }},
	{"Home", "CLAUDE_HOME", true, ofSetup, func(v *VM) string { return v.Home }},
	{"ReadOnly", "READ_ONLY", true, ofSetup, func(v *VM) string { return unitfile.Join(v.ReadOnly) }},
	{"Hide", "HIDE", true, ofSetup, func(v *VM) string { return unitfile.Join(v.Hide) }},
	{"Guard", "GUARD", true, ofSetup, func(v *VM) string { return yesNo(v.Guard) }},
	{"Inotify", "INOTIFY", true, ofSetup, func(v *VM) string { return yesNo(v.Inotify) }},
	{"Mount", "MOUNTS", true, ofSetup, func(v *VM) string { return unitfile.Join(texts(v.Mounts)) }},
	{"PublishPort", "PORTS", true, ofSetup, func(v *VM) string { return unitfile.Join(texts(v.Ports)) }},
	{"Mode", "NETWORK_MODE", true, ofSetup, func(v *VM) string { return v.Network }},
	{"Allow", "ALLOW", true, ofSetup, func(v *VM) string { return unitfile.Join(v.Allow) }},
	{"Deny", "DENY", true, ofSetup, func(v *VM) string { return unitfile.Join(v.Deny) }},
	{"Ask", "ASK", true, ofSetup, func(v *VM) string { return yesNo(v.Ask) }},
	{"Inject", "INJECT", true, ofSetup, func(v *VM) string { return unitfile.Join(texts(v.Inject)) }},
	{"InjectCommand", "INJECT_COMMANDS", true, ofSetup, func(v *VM) string { return unitfile.Join(v.Commands) }},
	{"Proxy", "PROXY", true, ofSetup, func(v *VM) string { return v.Proxy }},
	{"ExtraCA", "EXTRA_CA", true, ofSetup, func(v *VM) string { return v.ExtraCA }},
	// Split by systemd for QEMU's command line, without C escape sequences.
	{"Mode", "NETWORK", false, ofMachine, (*VM).network},
	{"Scratch", "SCRATCH_DISK", false, ofMachine, (*VM).scratchDisk},
	{"QEMUArguments", "QEMU_ARGUMENTS", false, ofMachine, qemuArguments},
}

// Value returns the value of the variable for v.
func (s *Setting) Value(v *VM) string { return s.value(v) }

func (s *Setting) line(value string) string {
	return "Environment=" + unitfile.Environment(s.Name, value)
}

// values has the value of each variable in Settings, in that order. It is an array, because
// the allocation of a slice costs 7 % of user time with 1000 files.
type values [len(Settings)]string

// listCount is the number of elements that VM.lists returns. They are an array, too.
const listCount = 4

func (v *VM) values() (all values) {
	for i := range Settings {
		all[i] = Settings[i].value(v)
	}
	return all
}

// longDirectory returns the work directory if the id is the path of a short link. Otherwise
// it returns "": the units get the work directory from their names.
func longDirectory(v *VM) string {
	if v.Long {
		return v.WorkDirectory
	}
	return ""
}

// accelerator returns words for QEMU's command line. It limits tcg to one thread, for the
// reason in claude-vm@.service.
func accelerator(v *VM) string {
	const kvm, tcg = "-accel kvm", "-accel tcg,thread=single"
	switch v.Accelerator {
	case "kvm":
		return kvm
	case "tcg":
		return tcg
	}
	return kvm + " " + tcg
}

func scratch(v *VM) string {
	if v.Scratch == 0 {
		return "no"
	}
	return strconv.FormatUint(v.Scratch>>20, 10) + "M"
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

func qemuArguments(v *VM) string {
	text, _ := unitfile.JoinPlain(v.QEMUArguments) // checked by checkWords
	return text
}

func yesNo(value bool) string {
	if value {
		return "yes"
	}
	return "no"
}

// texts returns the values as they are written in a .vm file.
func texts[T fmt.Stringer](values []T) []string {
	var all []string
	for _, value := range values {
		all = append(all, value.String())
	}
	return all
}
