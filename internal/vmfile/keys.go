// Package vmfile defines .vm files: their keys, where they are searched, and the VMs that
// they describe. It does not write files.
package vmfile

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/t0mpr1c3/claude-microvm/internal/confine"
	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/unitfile"
	"github.com/t0mpr1c3/claude-microvm/internal/vm"
)

// Key is a key of .vm files. The parser and the options of claude-vm-ctl use the table
// of keys, and a test compares it with the manual.
type Key struct {
	Section, Name string
	Flag          string   // the option of claude-vm-ctl without --; may be empty
	Value         string   // placeholder of the value in help
	Default       string   // as shown in help
	Doc           string   // one line, as shown in help
	Words         []string // possible words, for completion, if Value does not have them

	// words means that the value is a list of words. Words with spaces are quoted, each
	// assignment appends, and an empty assignment resets the list.
	words bool
	// set applies a value or one word of it.
	set func(v *vm.VM, value string) error
	// reset applies an empty value. defaults is vm.Default(), so an empty value also undoes
	// what defaults.conf sets.
	reset func(v *vm.VM, defaults vm.VM)
}

// Boolean is the Value of boolean keys.
const Boolean = "BOOLEAN"

// Keys lists all keys, in the order of the manual.
var Keys = []Key{
	{Section: "VM", Name: "WorkDirectory", Value: "PATH", Doc: "The directory that the VM sees; required",
		set: setWorkDirectory, reset: func(v *vm.VM, b vm.VM) { v.WorkDirectory = "" }},
	{Section: "VM", Name: "Memory", Flag: "memory", Value: "SIZE", Default: "4G", Doc: "Memory of the guest",
		set:   func(v *vm.VM, s string) (err error) { v.Memory, err = vm.ParseMemory(s); return err },
		reset: func(v *vm.VM, b vm.VM) { v.Memory = b.Memory }},
	{Section: "VM", Name: "CPUs", Flag: "cpus", Value: "NUMBER", Default: "4", Doc: "Processors of the guest",
		set: setCPUs, reset: func(v *vm.VM, b vm.VM) { v.CPUs = b.CPUs }},
	{Section: "VM", Name: "Scratch", Value: "SIZE|no", Default: "16G", Doc: "Disk space for the guest's files that do not fit into its memory",
		set:   func(v *vm.VM, s string) (err error) { v.Scratch, err = vm.ParseScratch(s); return err },
		reset: func(v *vm.VM, b vm.VM) { v.Scratch = b.Scratch }},
	{Section: "VM", Name: "Resume", Value: Boolean, Default: "yes", Doc: "Whether the guest resumes from a snapshot of an earlier boot",
		set:   func(v *vm.VM, s string) (err error) { v.Resume, err = boolean(s); return err },
		reset: func(v *vm.VM, b vm.VM) { v.Resume = b.Resume }},
	{Section: "VM", Name: "Accelerator", Value: "auto|kvm|tcg", Default: "auto", Doc: "What runs the guest's code; auto is KVM, or else emulation",
		set:   func(v *vm.VM, s string) error { return choose(&v.Accelerator, s, "auto", "kvm", "tcg") },
		reset: func(v *vm.VM, b vm.VM) { v.Accelerator = b.Accelerator }},
	{Section: "VM", Name: "Guest", Value: "NAME|PATH", Default: "the installed one", Doc: "Name of a guest of claude-vm-ctl guest build, or directory of a bundle",
		set: setGuest, reset: func(v *vm.VM, b vm.VM) { v.Guest, v.Image = "", "" }},
	{Section: "VM", Name: "QEMUArguments", Value: "WORDS", Doc: "Further arguments of QEMU", words: true,
		set:   func(v *vm.VM, s string) error { return appendText(&v.QEMUArguments, s) },
		reset: func(v *vm.VM, b vm.VM) { v.QEMUArguments = nil }},
	{Section: "VM", Name: "Insecure", Flag: "insecure", Value: "SETTING", Doc: "Parts of the sandbox that may be missing on this host", Words: confine.Settings, words: true,
		set: addInsecure, reset: func(v *vm.VM, b vm.VM) { v.Insecure = nil }},

	{Section: "Claude", Name: "Arguments", Value: "WORDS", Doc: "Arguments of Claude Code, before those of claude-vm-ctl run", words: true,
		set:   func(v *vm.VM, s string) error { v.Arguments = append(v.Arguments, s); return nil },
		reset: func(v *vm.VM, b vm.VM) { v.Arguments = nil }},
	{Section: "Claude", Name: "SkipPermissions", Value: Boolean, Default: "no", Doc: "Whether Claude acts without asking (--dangerously-skip-permissions)",
		set:   func(v *vm.VM, s string) (err error) { v.SkipPermissions, err = boolean(s); return err },
		reset: func(v *vm.VM, b vm.VM) { v.SkipPermissions = b.SkipPermissions }},
	{Section: "Claude", Name: "Terminal", Value: "auto|yes|no", Default: "auto", Doc: "Whether Claude has a terminal; auto: unless claude-vm-ctl run has none",
		set: setTerminal, reset: func(v *vm.VM, b vm.VM) { v.Terminal = b.Terminal }},
	{Section: "Claude", Name: "Clipboard", Value: Boolean, Default: "no", Doc: "Whether programs in the guest can set the clipboard of your terminal",
		set:   func(v *vm.VM, s string) (err error) { v.Clipboard, err = boolean(s); return err },
		reset: func(v *vm.VM, b vm.VM) { v.Clipboard = b.Clipboard }},
	{Section: "Claude", Name: "Environment", Flag: "env", Value: "NAME=VALUE", Doc: "Variables of Claude's environment", words: true,
		set: addEnvironment, reset: func(v *vm.VM, b vm.VM) { v.Environment = nil }},
	{Section: "Claude", Name: "Credential", Value: "NAME[:PATH][:guest]", Default: "the three of Claude Code", Doc: "A secret variable, from a file; by default in ~/.config/credstore", words: true,
		set: addCredential, reset: resetCredentials},
	{Section: "Claude", Name: "ForwardAgent", Flag: "forward-agent", Value: Boolean, Default: "no", Doc: "Whether the guest can use your SSH agent, for git",
		set:   func(v *vm.VM, s string) (err error) { v.ForwardAgent, err = boolean(s); return err },
		reset: func(v *vm.VM, b vm.VM) { v.ForwardAgent = b.ForwardAgent }},
	{Section: "Claude", Name: "SettingsFile", Value: "PATH", Doc: "A settings.json of the host for Claude's user",
		set:   func(v *vm.VM, s string) (err error) { v.SettingsFile, err = absolute(s); return err },
		reset: func(v *vm.VM, b vm.VM) { v.SettingsFile = "" }},
	{Section: "Claude", Name: "UserConfig", Value: Boolean, Default: "yes", Doc: "Whether your CLAUDE.md, skills, commands, agents and git identity come along",
		set:   func(v *vm.VM, s string) (err error) { v.UserConfig, err = boolean(s); return err },
		reset: func(v *vm.VM, b vm.VM) { v.UserConfig = b.UserConfig }},
	{Section: "Claude", Name: "Home", Flag: "home", Value: "ephemeral|project|user", Default: "ephemeral", Doc: "Whether Claude's home is kept: no, for this directory, or for all",
		set:   func(v *vm.VM, s string) error { return choose(&v.Home, s, "ephemeral", "project", "user") },
		reset: func(v *vm.VM, b vm.VM) { v.Home = b.Home }},

	{Section: "Share", Name: "ReadOnly", Flag: "read-only", Value: "PATH", Default: ".git/hooks and others", Doc: "Paths in the work directory that the guest cannot change", words: true,
		set:   func(v *vm.VM, s string) error { return addPath(&v.ReadOnly, s) },
		reset: func(v *vm.VM, b vm.VM) { v.ReadOnly = nil }},
	{Section: "Share", Name: "Hide", Flag: "hide", Value: "PATTERN", Doc: "Paths, patterns and @secrets that the guest cannot read", words: true,
		set: addHidden, reset: func(v *vm.VM, b vm.VM) { v.Hide = nil }},
	{Section: "Share", Name: "Guard", Value: Boolean, Default: "yes", Doc: "Whether changes of files that the host's programs execute or obey are reported",
		set:   func(v *vm.VM, s string) (err error) { v.Guard, err = boolean(s); return err },
		reset: func(v *vm.VM, b vm.VM) { v.Guard = b.Guard }},
	{Section: "Share", Name: "Inotify", Value: Boolean, Default: "yes", Doc: "Whether programs in the guest that watch files notice changes of the host",
		set:   func(v *vm.VM, s string) (err error) { v.Inotify, err = boolean(s); return err },
		reset: func(v *vm.VM, b vm.VM) { v.Inotify = b.Inotify }},
	{Section: "Share", Name: "Mount", Flag: "mount", Value: "HOST:GUEST[:ro]", Doc: "Another directory or file of the host in the guest", words: true,
		set: addMount, reset: func(v *vm.VM, b vm.VM) { v.Mounts = nil }},

	{Section: "Network", Name: "Mode", Flag: "network", Value: "internet|allow|none", Default: "internet", Doc: "The public Internet, only what Allow= names, or no network card at all",
		set: setNetwork, reset: func(v *vm.VM, b vm.VM) { v.Network = b.Network }},
	{Section: "Network", Name: "Allow", Value: "RULE", Doc: "Names, addresses and groups that the guest may connect to", words: true,
		set:   func(v *vm.VM, s string) error { return addRule(&v.Allow, s) },
		reset: func(v *vm.VM, b vm.VM) { v.Allow = nil }},
	{Section: "Network", Name: "Deny", Value: "RULE", Doc: "Names, addresses and groups that the guest may not connect to", words: true,
		set:   func(v *vm.VM, s string) error { return addRule(&v.Deny, s) },
		reset: func(v *vm.VM, b vm.VM) { v.Deny = nil }},
	{Section: "Network", Name: "Ask", Value: Boolean, Default: "yes", Doc: "Whether the guest may ask you for names that it cannot connect to",
		set:   func(v *vm.VM, s string) (err error) { v.Ask, err = boolean(s); return err },
		reset: func(v *vm.VM, b vm.VM) { v.Ask = b.Ask }},
	{Section: "Network", Name: "PublishPort", Flag: "publish", Value: "[ADDRESS:]HOST[:GUEST][/udp]", Doc: "A host port that is forwarded to the guest; on 127.0.0.1 by default", words: true,
		set: addPort, reset: func(v *vm.VM, b vm.VM) { v.Ports = nil }},
	{Section: "Network", Name: "Inject", Value: "NAME[:HOST[:SCHEME]]", Default: "the three of Claude Code", Doc: "A secret that stays on the host and is added to requests", words: true,
		set: addInjection, reset: func(v *vm.VM, b vm.VM) { v.Inject = nil }},
	{Section: "Network", Name: "InjectCommand", Value: "NAME=COMMAND", Doc: "A shell command of the host that prints a secret of Inject=", words: true,
		set: addInjectCommand, reset: func(v *vm.VM, b vm.VM) { v.Commands = nil }},
	{Section: "Network", Name: "Proxy", Value: "URL", Default: "that of the environment", Doc: "The HTTP proxy for connections to the Internet",
		set: setProxy, reset: func(v *vm.VM, b vm.VM) { v.Proxy = "" }},
	{Section: "Network", Name: "ExtraCA", Value: "PATH", Doc: "Certificates that are trusted in addition, in PEM format",
		set:   func(v *vm.VM, s string) (err error) { v.ExtraCA, err = absolute(s); return err },
		reset: func(v *vm.VM, b vm.VM) { v.ExtraCA = "" }},
}

// Sections that systemd defines.
const (
	sectionUnit    = "Unit"
	sectionService = "Service"
	sectionInstall = "Install"
)

// resourceKeys are keys of systemd that users may expect in [VM].
var resourceKeys = []string{
	"MemoryMax", "MemoryHigh", "MemoryMin", "MemoryLow", "MemorySwapMax", "CPUWeight", "CPUQuota", "IOWeight", "TasksMax",
}

// applier applies the assignments of files, or of options, to one VM.
type applier struct {
	vm         *vm.VM
	defaults   bool // reading defaults.conf, where WorkDirectory= and [Install] are not allowed
	root       Root
	specifiers Specifiers
	check      func(dir string) error
	files      []*unitfile.File // those applied; an option stands for a file
}

// apply applies one file and returns its errors.
func (r *applier) apply(f *unitfile.File) []*failure.Error {
	r.files = append(r.files, f)
	var errs []*failure.Error
	for _, s := range f.Sections {
		if err := r.checkSection(s); err != nil {
			err.File = f.Name
			errs = append(errs, err)
		}
	}
	for _, e := range f.Entries {
		if err := r.assign(e); err != nil {
			err.File, err.Line = f.Name, e.Line
			errs = append(errs, err)
		}
	}
	return errs
}

func (r *applier) checkSection(s unitfile.Section) *failure.Error {
	if strings.HasPrefix(s.Name, "X-") {
		return nil
	}
	known := []string{"VM", "Claude", "Share", "Network", sectionUnit, sectionService, sectionInstall}
	if slices.Contains(known, s.Name) {
		return nil
	}
	return &failure.Error{Line: s.Line, Err: fmt.Errorf("unknown section [%s]", abridged(s.Name)), Hint: didYouMean("[%s]", s.Name, known)}
}

// assign applies one assignment.
func (r *applier) assign(e unitfile.Entry) *failure.Error {
	switch {
	case strings.HasPrefix(e.Section, "X-"), strings.HasPrefix(e.Key, "X-"):
		return nil
	case (e.Section == sectionUnit || e.Section == sectionService) && isMisplaced(e.Key):
		return &failure.Error{Err: fmt.Errorf("unknown key %s= in [%s]", e.Key, e.Section), Hint: r.hintFor(e, nil)}
	case e.Section == sectionUnit:
		r.vm.Unit = append(r.vm.Unit, e)
		return nil
	case e.Section == sectionService:
		r.vm.MemoryMax = r.vm.MemoryMax || e.Key == "MemoryMax"
		r.vm.Service = append(r.vm.Service, e)
		return nil
	case e.Section == sectionInstall:
		return r.install(e)
	}
	if k := findKey(e.Section, e.Key); k != nil {
		return r.set(k, e.Value)
	}
	var names []string
	for _, k := range Keys {
		if k.Section == e.Section {
			names = append(names, k.Name)
		}
	}
	if names == nil {
		return nil // the unknown section is already reported
	}
	return &failure.Error{Err: fmt.Errorf("unknown key %s= in [%s]", abridged(e.Key), e.Section), Hint: r.hintFor(e, names)}
}

// findKey returns the key with this name in a section; in any section if it is empty.
func findKey(section, name string) *Key {
	for i := range Keys {
		if k := &Keys[i]; k.Name == name && (section == "" || k.Section == section) {
			return k
		}
	}
	return nil
}

// isMisplaced reports whether a key in [Unit] or [Service] belongs to another section of
// .vm files. systemd would ignore it, and the VM would lack a restriction.
func isMisplaced(key string) bool {
	return key != "Environment" && findKey("", key) != nil
}

// hintFor returns a hint with the section in which the key belongs, or with the key in
// names that was probably meant.
func (r *applier) hintFor(e unitfile.Entry, names []string) string {
	if k := findKey("", e.Key); k != nil {
		return fmt.Sprintf("%s= belongs in [%s]", k.Name, k.Section)
	}
	if _, ok := installKeys[e.Key]; ok {
		return fmt.Sprintf("%s= belongs in [%s]", e.Key, sectionInstall)
	}
	if slices.Contains(resourceKeys, e.Key) {
		return fmt.Sprintf("%s= is systemd's and belongs in [%s]", e.Key, sectionService)
	}
	return didYouMean("%s=", e.Key, names)
}

// set applies a value as it is written in a file: with specifiers and, if the value is a
// list, quotes.
func (r *applier) set(k *Key, value string) *failure.Error {
	if k.Name == "WorkDirectory" && r.defaults {
		return &failure.Error{Err: errors.New("WorkDirectory= is not allowed in defaults.conf, which applies to all VMs")}
	}
	words := []string{value}
	var err error
	switch {
	case value == "":
		k.reset(r.vm, vm.Default())
		return nil
	case k.words:
		words, err = unitfile.Split(value)
	}
	for i := 0; err == nil && i < len(words); i++ {
		var word string
		if word, err = r.specifiers.expand(words[i], r.vm.Name); err == nil {
			err = k.set(r.vm, word)
		}
	}
	return keyError(k, value, err)
}

// keyError adds the key, its value and the status to the error of a value.
func keyError(k *Key, value string, err error) *failure.Error {
	if err == nil {
		return nil
	}
	return &failure.Error{Status: failure.Usage, Err: fmt.Errorf("%s=%s: %w", k.Name, abridged(value), err), Hint: failure.HintOf(err)}
}

// abridged shortens value so that a message fits into two lines of a terminal.
func abridged(value string) string {
	if r := []rune(value); len(r) > 60 {
		return string(r[:59]) + "…"
	}
	return value
}
