// Package contract is what the host and the guest have agreed on: names of
// virtio-serial ports, the message that begins an instance, the lines of the
// status port, and the words used on top of the SSH protocol. It holds data
// only; guest/README.md is its prose.
package contract

import (
	"bufio"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// Numbers that builders of guests and scripts/install need as well are files.
var (
	//go:embed version
	version string
	//go:embed ssh-ports
	sshPorts string
)

var (
	// Version is raised by every change that makes an older other side fail.
	Version = number(version)
	// SSHPorts is how many SSH ports a VM has. Each carries one connection.
	SSHPorts = number(sshPorts)
)

// number parses the text of a file that is embedded.
func number(text string) int {
	n, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil {
		panic(err)
	}
	return n
}

// Ports of virtio-serial.
const (
	StatusPort    = "claude-vm.status"
	sshPortPrefix = "claude-vm.ssh." // and a number from 0
)

// SSHPort is the name of the i-th port for SSH.
func SSHPort(i int) string { return sshPortPrefix + strconv.Itoa(i) }

// SSHSocket and SSHLock are the files of the i-th port's host end.
func SSHSocket(i int) string { return fmt.Sprintf("ssh.%d.sock", i) }
func SSHLock(i int) string   { return fmt.Sprintf("ssh.%d.lock", i) }

// The virtiofs device and the trees that it always or sometimes has; the other
// ones are those of Begin.Mounts.
const (
	ShareTag  = "share"
	ShareWork = "work" // for /work
	ShareHome = "home" // for the home of UserClaude, if that is kept
)

// Files of an instance's runtime directory.
const (
	StatusFile  = "status"     // host end of StatusPort
	QMPSocket   = "qmp.sock"   // QEMU's monitor
	ShareSocket = "vfs.sock"   // virtiofsd's
	ShareLock   = "vfs.lock"   // locked while virtiofsd lives
	ShareMark   = "share-died" // made when virtiofsd died under a running VM
)

// Words of the SSH layer.
const (
	// BeginChannel is a channel type: the client writes the JSON of Begin and
	// closes its side, the guest answers with the JSON of Begun.
	BeginChannel = "begin@claude-vm"
	// SessionSubsystem attaches a session channel to Claude: to its terminal,
	// or to its standard streams if it has none.
	SessionSubsystem = "claude"
	// AgentSubsystem makes the connection the guest's way to the SSH agent of the
	// host's user: the guest opens channels as OpenSSH's servers do.
	AgentSubsystem = "ssh-agent"
	// UserClaude and UserRoot are SSH user names.
	UserClaude = "claude"
	UserRoot   = "root"
)

// Session is what Claude is started with.
type Session struct {
	Arguments   []string          `json:"arguments,omitempty"`
	Environment map[string]string `json:"environment,omitempty"`
	// Terminal is whether Claude gets a terminal or three pipes.
	Terminal bool `json:"terminal"`
	Rows     int  `json:"rows,omitempty"`
	Columns  int  `json:"columns,omitempty"`
	// Attached promises that a client comes for the streams. Without a terminal and
	// without this they go to the guest's journal.
	Attached bool `json:"attached,omitempty"`
}

// Mount is a tree, or a file, of the share and its place in the guest.
type Mount struct {
	Name string `json:"name"`
	Path string `json:"path"`
}

// Begin makes an instance out of a booted guest that is like all others.
type Begin struct {
	Version int `json:"version"`
	Session
	// Settings are Claude Code's, a JSON object; without them it has those of its home.
	Settings json.RawMessage `json:"settings,omitempty"`
	Mounts   []Mount         `json:"mounts,omitempty"`
	Home     bool            `json:"home,omitempty"` // the share has ShareHome
	// ForwardAgent says that AgentSubsystem will be there.
	ForwardAgent bool      `json:"forwardAgent,omitempty"`
	Time         time.Time `json:"time"`      // the host's clock
	Entropy      []byte    `json:"entropy"`   // for the kernel's random pool
	MachineID    string    `json:"machineID"` // 32 hexadecimal digits
	Hostname     string    `json:"hostname"`
}

// Begun is the guest's answer: Claude runs, or why it does not.
type Begun struct {
	Error string `json:"error,omitempty"`
}

// Status is what the guest has reported so far, in sd_notify(3)'s words.
type Status struct {
	Ready    bool   // READY=1
	Stopping bool   // STOPPING=1: an orderly power-off has begun
	Text     string // STATUS=
	Exit     *int   // EXIT_STATUS=, Claude's
}

// ParseStatus reads a status file. Unknown lines and a cut-off last one are
// skipped: the guest writes it and is not trusted to write it well.
func ParseStatus(r io.Reader) Status {
	var s Status
	lines := bufio.NewScanner(io.LimitReader(r, 1<<20))
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), "=")
		switch key {
		case "READY":
			s.Ready = value == "1"
		case "STOPPING":
			s.Stopping = value == "1"
		case "STATUS":
			s.Text = strings.ToValidUTF8(value, "\uFFFD")
		case "EXIT_STATUS":
			if n, err := strconv.ParseUint(value, 10, 8); err == nil {
				exit := int(n)
				s.Exit = &exit
			}
		}
	}
	return s
}
