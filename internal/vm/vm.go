// Package vm is the model of a configured virtual machine. It converts a VM to lines
// for the three units of an instance that have settings. It does no I/O and does not
// parse .vm files; package vmfile does.
package vm

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/t0mpr1c3/claude-microvm/internal/policy"
	"github.com/t0mpr1c3/claude-microvm/internal/unitfile"
)

// VM is the configuration of an instance. A nil list is the same as an empty one.
type VM struct {
	// Name is the name of the file without .vm; empty for the settings of all VMs.
	Name string
	// Source is the file, followed by its drop-ins.
	Source []string
	// Refusal is the reason why the instance must not start; empty if it may.
	// RefusalHint is the command that fixes it.
	Refusal, RefusalHint string

	WorkDirectory string // absolute and clean
	Long          bool   // WorkDirectory is too long for a unit name; see instance.Paths.PathID
	Memory        uint64 // in bytes
	CPUs          int
	Scratch       uint64 // size of the scratch disk in bytes; 0 for none
	Resume        bool   // from a snapshot, if there is one
	Accelerator   string // auto, kvm or tcg
	Guest         string // directory of the bundle; empty for the installed one
	Image         string // name of the container image that Claude sees; empty for the guest itself
	QEMUArguments []string
	Insecure      []string // what the processes may lack; see confine.Settings

	Arguments       []string
	SkipPermissions bool
	Terminal        string // auto, yes or no
	Clipboard       bool
	Environment     []string // NAME=VALUE
	Credentials     []Credential
	ForwardAgent    bool
	SettingsFile    string
	UserConfig      bool
	Home            string // ephemeral, project or user

	ReadOnly []string // clean paths below the work directory, or "."
	Hide     []string // the same, patterns and groups; see package hide
	Mounts   []Mount
	Guard    bool
	Inotify  bool

	Network     string   // internet, allow or none
	Allow, Deny []string // rules; see policy.ParseRule
	Ask         bool
	Ports       []Port
	Inject      []Injection
	Commands    []string // NAME=COMMAND, as in InjectCommand=
	Proxy       string   // URL
	ExtraCA     string

	// Unit and Service are lines that are copied to the VM's unit, in this order.
	Unit, Service []unitfile.Entry
	// MemoryMax means that there is such a line in Service or in that of defaults.conf.
	MemoryMax bool
	Links     []Link
}

// Credential is a secret in a file on the host. Claude gets it as the environment
// variable Name.
type Credential struct {
	Name string
	Path string // empty for ~/.config/credstore/Name
}

// Mount is a file or directory of the host that is mounted in the guest.
type Mount struct {
	Host, Guest string // absolute and clean
	ReadOnly    bool
}

// Injection is a credential that does not enter the guest: the gateway adds it to requests.
type Injection struct {
	Name   string // of the credential
	Host   string // empty for the API of Claude Code
	Scheme string // SchemeBearer, SchemeBasic or the name of a header; empty without Host
}

// Schemes of an Injection, which are also the words for them in Inject=.
const (
	SchemeBearer = "bearer"
	SchemeBasic  = "basic"
)

// Port is a port of the host that is published: connections to it reach the guest.
type Port struct {
	Protocol    string // tcp or udp
	Address     string // IPv4 or IPv6
	Host, Guest int
}

// Link makes Target want, require or uphold the VM's unit. Kind is the suffix of the
// directory with the link: "wants", "requires" or "upholds".
type Link struct{ Target, Kind string }

// Values of Terminal and Home that other packages compare with.
const (
	TerminalAuto  = "auto"
	TerminalYes   = "yes"
	TerminalNo    = "no"
	HomeEphemeral = "ephemeral"
)

// Default returns the settings of the units without drop-ins. A test compares it with
// the files in units/.
func Default() VM {
	return VM{
		Memory: 4 << 30, CPUs: 4, Scratch: 16 << 30, Resume: true, Accelerator: "auto", Terminal: "auto", Home: "ephemeral", Network: "internet", Ask: true, Guard: true, Inotify: true, UserConfig: true,
		Inject: []Injection{{Name: "ANTHROPIC_API_KEY"}, {Name: "ANTHROPIC_AUTH_TOKEN"}, {Name: "CLAUDE_CODE_OAUTH_TOKEN"}},
		ReadOnly: []string{
			".git/hooks", ".git/config", ".git/config.worktree", ".claude/settings.json", ".claude/settings.local.json",
			".mcp.json", ".envrc", ".vscode",
		},
	}
}

// Clone returns a copy that shares no list with v.
func (v *VM) Clone() VM {
	c := *v
	c.Source = slices.Clone(v.Source)
	c.QEMUArguments = slices.Clone(v.QEMUArguments)
	c.Insecure = slices.Clone(v.Insecure)
	c.Arguments = slices.Clone(v.Arguments)
	c.Environment = slices.Clone(v.Environment)
	c.Credentials = slices.Clone(v.Credentials)
	c.ReadOnly, c.Hide = slices.Clone(v.ReadOnly), slices.Clone(v.Hide)
	c.Mounts, c.Ports = slices.Clone(v.Mounts), slices.Clone(v.Ports)
	c.Allow, c.Deny, c.Inject = slices.Clone(v.Allow), slices.Clone(v.Deny), slices.Clone(v.Inject)
	c.Commands = slices.Clone(v.Commands)
	c.Unit, c.Service = slices.Clone(v.Unit), slices.Clone(v.Service)
	c.Links = slices.Clone(v.Links)
	return c
}

// String returns m as a value of Mount=.
func (m Mount) String() string {
	text := m.Host + ":" + m.Guest
	if m.ReadOnly {
		text += ":ro"
	}
	return text
}

// String returns p as a value of PublishPort=.
func (p Port) String() string {
	address := p.Address
	if strings.Contains(address, ":") {
		address = "[" + address + "]"
	}
	return fmt.Sprintf("%s:%d:%d/%s", address, p.Host, p.Guest, p.Protocol)
}

// String returns i as a value of Inject=.
func (i Injection) String() string {
	if i.Host == "" {
		return i.Name
	}
	return i.Name + ":" + i.Host + ":" + i.Scheme
}

// Validate checks what the parser of a single key cannot: settings that contradict each
// other, and total lengths. key is the name of the key with the error; the caller reports
// the line of its last assignment.
func (v *VM) Validate() (key string, err error) {
	if v.Network == policy.None && len(v.Ports) > 0 {
		return "PublishPort", fmt.Errorf("PublishPort=%s: cannot publish a port with Mode=none", v.Ports[0])
	}
	for i, p := range v.Ports {
		for _, other := range v.Ports[:i] {
			if p.clashes(other) {
				return "PublishPort", fmt.Errorf("PublishPort=%s: the host port is already used by %s", p, other)
			}
		}
	}
	for i, m := range v.Mounts {
		for _, other := range v.Mounts[:i] {
			if m.Guest == other.Guest {
				return "Mount", fmt.Errorf("Mount=%s:%s: %s is already mounted there", m.Host, m.Guest, other.Host)
			}
		}
		if v.WorkDirectory != "" && (under(m.Host, v.WorkDirectory) || under(v.WorkDirectory, m.Host)) { // setup checks this again
			return "Mount", fmt.Errorf("Mount=%s:%s: overlaps the work directory and would bypass its ReadOnly= and Hide=", m.Host, m.Guest)
		}
		if v.WorkDirectory != "" && under(v.WorkDirectory, m.Guest) {
			return "Mount", fmt.Errorf("Mount=%s:%s: would hide the work directory, which has the same path in the guest", m.Host, m.Guest)
		}
		if v.Home != "ephemeral" && m.Guest == "/home/claude" {
			return "Mount", fmt.Errorf("Mount=%s:%s: Home=%s is already mounted there", m.Host, m.Guest, v.Home)
		}
	}
	if v.size() < maxVariable/8 { // quoting never makes a value eight times as long
		return "", nil
	}
	return v.validateLengths()
}

// validateLengths checks the lengths of environment variables and of the units' lists.
func (v *VM) validateLengths() (key string, err error) {
	for i, value := range v.values() {
		if s := &Settings[i]; len(s.Name)+len(value) > maxVariable {
			return s.Key, fmt.Errorf("%s= is longer than 128 KiB, the limit for an environment variable", s.Key)
		}
	}
	if len(strings.Join(append(v.credentialLines(), v.secretLines()...), " ")) > maxVariable {
		return "Credential", errors.New("Credential= is longer than 128 KiB")
	}
	return "", nil
}

// size estimates the size of the lists in bytes, so that Validate can skip the slower
// validateLengths.
func (v *VM) size() int {
	n := len(v.Refusal) + len(v.WorkDirectory)
	for _, words := range [][]string{v.QEMUArguments, v.Insecure, v.Arguments, v.Environment, v.ReadOnly, v.Hide, v.Allow, v.Deny} {
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
	for _, i := range v.Inject {
		n += 3*len(i.Name) + len(i.Host) + len(i.Scheme) + 64
	}
	return n + 64*len(v.Ports) + len(v.Proxy)
}

// clashes reports whether both ports would listen on the same address of the host.
func (p Port) clashes(q Port) bool {
	all := func(p Port) bool { return p.Address == "0.0.0.0" || p.Address == "::" }
	return p.Protocol == q.Protocol && p.Host == q.Host && (p.Address == q.Address || all(p) || all(q))
}

// maxVariable is the maximum length of a variable's name and value: MAX_ARG_STRLEN of
// Linux, less "=" and the final NUL.
const maxVariable = 128<<10 - 2

// under reports whether path is dir or in it. Both are absolute and clean.
func under(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

// underRelative does the same as under for relative and clean paths.
func underRelative(path, dir string) bool {
	return dir == "." || path == dir || strings.HasPrefix(path, dir+"/")
}
