// Package vm is the model of a configured virtual machine, and what it means
// for the three units of an instance. It reads and writes no files, and knows
// nothing of the keys that lead to it.
package vm

import (
	"fmt"
	"slices"
	"strings"

	"github.com/t0mpr1c3/claude-microvm/internal/unitfile"
)

// VM is how an instance is to be. A nil list is an empty one.
type VM struct {
	// Name is that of the file, without .vm; empty for what holds for all.
	Name string
	// Source is the file, and its drop-ins after it.
	Source []string
	// Refusal, if there is one, is why the instance must not start, and RefusalHint
	// the command that fixes it.
	Refusal, RefusalHint string

	WorkDirectory string // absolute and clean
	Long          bool   // too long for a unit's name: the instance is a short link
	Memory        uint64 // in bytes
	CPUs          int
	Accelerator   string // auto, kvm or tcg
	Guest         string // directory of the bundle; empty for the installed one
	QEMUArguments []string

	Arguments       []string
	SkipPermissions bool
	Terminal        string   // auto, yes or no
	Environment     []string // NAME=VALUE
	Credentials     []Credential
	ForwardAgent    bool
	SettingsFile    string
	Home            string // ephemeral, project or user

	ReadOnly, Hide []string // clean paths below the work directory, or "."
	Mounts         []Mount

	Network string // user or none
	Ports   []Port

	// What passes through to the unit, in order, and its links.
	Unit, Service []unitfile.Entry
	Links         []Link
}

// Credential is a secret in a file of the host, a variable of Claude's by name.
type Credential struct {
	Name string
	Path string // empty: the file of this name in ~/.config/credstore
}

// Mount is a file or directory of the host in the guest.
type Mount struct {
	Host, Guest string // absolute and clean
	ReadOnly    bool
}

// Port is one of the host that leads into the guest.
type Port struct {
	Protocol    string // tcp or udp
	Address     string // IPv4
	Host, Guest int
}

// Link makes Target want, require or uphold the unit: Kind is the suffix of the
// directory, "wants", "requires" or "upholds".
type Link struct{ Target, Kind string }

// Values of Terminal and Home that the programs know.
const (
	TerminalAuto  = "auto"
	TerminalYes   = "yes"
	TerminalNo    = "no"
	HomeEphemeral = "ephemeral"
)

// Default is what the units say by themselves; a test holds them together.
func Default() VM {
	return VM{
		Memory: 4 << 30, CPUs: 4, Accelerator: "auto", Terminal: "auto", Home: "ephemeral", Network: "user",
		Credentials: []Credential{{Name: "ANTHROPIC_API_KEY"}, {Name: "ANTHROPIC_AUTH_TOKEN"}, {Name: "CLAUDE_CODE_OAUTH_TOKEN"}},
		ReadOnly: []string{
			".git/hooks", ".git/config", ".claude/settings.json", ".claude/settings.local.json",
			".mcp.json", ".envrc", ".vscode",
		},
	}
}

// Clone is a copy that shares no list with v.
func (v VM) Clone() VM {
	v.Source = slices.Clone(v.Source)
	v.QEMUArguments = slices.Clone(v.QEMUArguments)
	v.Arguments = slices.Clone(v.Arguments)
	v.Environment = slices.Clone(v.Environment)
	v.Credentials = slices.Clone(v.Credentials)
	v.ReadOnly, v.Hide = slices.Clone(v.ReadOnly), slices.Clone(v.Hide)
	v.Mounts, v.Ports = slices.Clone(v.Mounts), slices.Clone(v.Ports)
	v.Unit, v.Service = slices.Clone(v.Unit), slices.Clone(v.Service)
	v.Links = slices.Clone(v.Links)
	return v
}

// String is how Mount= would be written.
func (m Mount) String() string {
	text := m.Host + ":" + m.Guest
	if m.ReadOnly {
		text += ":ro"
	}
	return text
}

// String is how PublishPort= would be written.
func (p Port) String() string {
	return fmt.Sprintf("%s:%d:%d/%s", p.Address, p.Host, p.Guest, p.Protocol)
}

// Validate finds what no single key can: settings that contradict each other. It
// names the key whose last line is the one to look at.
func (v VM) Validate() (key string, err error) {
	if v.Network == "none" && len(v.Ports) > 0 {
		return "PublishPort", fmt.Errorf("PublishPort=%s: with Mode=none there is no network to publish it from", v.Ports[0])
	}
	for i, p := range v.Ports {
		for _, other := range v.Ports[:i] {
			if p.clashes(other) {
				return "PublishPort", fmt.Errorf("PublishPort=%s: the host's port is that of %s", p, other)
			}
		}
	}
	for i, m := range v.Mounts {
		for _, other := range v.Mounts[:i] {
			if m.Guest == other.Guest {
				return "Mount", fmt.Errorf("Mount=%s:%s: %s is mounted there", m.Host, m.Guest, other.Host)
			}
		}
		if v.WorkDirectory != "" && (under(m.Host, v.WorkDirectory) || under(v.WorkDirectory, m.Host)) { // setup asks again
			return "Mount", fmt.Errorf("Mount=%s:%s: it overlaps the work directory, whose ReadOnly= and Hide= it would undo", m.Host, m.Guest)
		}
		if v.Home != "ephemeral" && m.Guest == "/home/claude" {
			return "Mount", fmt.Errorf("Mount=%s:%s: Home=%s is there", m.Host, m.Guest, v.Home)
		}
	}
	if v.size() < maxVariable/8 { // no writing makes it so much longer
		return "", nil
	}
	return v.validateLengths()
}

// validateLengths finds what is too long for a variable, or for a unit's list.
func (v VM) validateLengths() (key string, err error) {
	for i, value := range v.values() {
		if s := &Settings[i]; len(s.Name)+len(value) > maxVariable {
			return s.Key, fmt.Errorf("%s= is longer than the 128 KiB of a process's variable", s.Key)
		}
	}
	for _, list := range []struct {
		key   string
		words []string
	}{{"Credential", v.credentialLines()}, {"ReadOnly", v.ReadOnly}, {"Hide", v.Hide}} {
		if len(strings.Join(list.words, " ")) > maxVariable {
			return list.key, fmt.Errorf("%s= is longer than 128 KiB", list.key)
		}
	}
	return "", nil
}

// size is about how many bytes the lists have.
func (v VM) size() int {
	n := len(v.Refusal) + len(v.WorkDirectory)
	for _, words := range [][]string{v.QEMUArguments, v.Arguments, v.Environment, v.ReadOnly, v.Hide} {
		for _, word := range words {
			n += len(word) + 8
		}
	}
	for _, m := range v.Mounts {
		n += len(m.Host) + len(m.Guest) + 16
	}
	for _, c := range v.Credentials {
		n += 2*len(c.Name) + len(c.Path) + 64
	}
	return n + 64*len(v.Ports)
}

// clashes says whether the host can have only one of the ports.
func (p Port) clashes(q Port) bool {
	const all = "0.0.0.0"
	return p.Protocol == q.Protocol && p.Host == q.Host && (p.Address == q.Address || p.Address == all || q.Address == all)
}

// maxVariable is MAX_ARG_STRLEN of Linux less room for "=" and the final NUL.
const maxVariable = 128<<10 - 2

// under says whether path is dir or in it; both are absolute and clean.
func under(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

// below says whether path is dir or in it; both are relative and clean.
func below(path, dir string) bool {
	return dir == "." || path == dir || strings.HasPrefix(path, dir+"/")
}
