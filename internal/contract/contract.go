// Package contract is the protocol between the host and the guest: the names of the
// virtio-serial ports, the begin message, the lines on the status port, and the names
// used on top of the SSH protocol. It contains data only; guest/README.md describes it.
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

// These numbers are files because scripts/install and the guest builds read them too.
var (
	//go:embed version
	version string
	//go:embed ssh-ports
	sshPorts string
)

var (
	// Version is increased by each change with which an older host or guest would fail.
	Version = number(version)
	// SSHPorts is the number of SSH ports of a VM. Each carries one connection.
	SSHPorts = number(sshPorts)
)

// number parses an embedded file.
func number(text string) int {
	n, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil {
		panic(err)
	}
	return n
}

// Names of virtio-serial ports.
const (
	StatusPort    = "claude-vm.status"
	sshPortPrefix = "claude-vm.ssh." // followed by a number, from 0
)

// SSHPort returns the name of the i-th SSH port.
func SSHPort(i int) string { return sshPortPrefix + strconv.Itoa(i) }

// SSHSocket and SSHLock return the names of the i-th SSH port's files on the host.
func SSHSocket(i int) string { return fmt.Sprintf("ssh.%d.sock", i) }
func SSHLock(i int) string   { return fmt.Sprintf("ssh.%d.lock", i) }

// The tag of the virtiofs device, and the directories at its root. Begin.Mounts names
// further ones.
const (
	ShareTag  = "share"
	ShareWork = "work" // for /work
	ShareHome = "home" // for the home directory of UserClaude, unless Home=ephemeral
	ShareGit  = "git"  // for the git directory, if it is not in the work directory
	// ShareClaude has what the user has written for Claude Code on the host, such as skills.
	ShareClaude = "claude"
	// ShareClaudeCode is a program that replaces the guest's Claude Code.
	ShareClaudeCode = "claude-code"
)

// Files of an instance's runtime directory.
const (
	StatusFile    = "status"       // QEMU writes the data of StatusPort here
	QMPSocket     = "qmp.sock"     // QEMU monitor
	ShareSocket   = "vfs.sock"     // virtiofsd
	ShareLock     = "vfs.lock"     // locked while virtiofsd runs
	NetSocket     = "net.sock"     // QEMU's end of the network
	ScratchSocket = "scratch.sock" // the server of the scratch disk
	GatewayLock   = "net.lock"     // locked while the gateway runs
	ShareDiedFile = "share-died"   // created when virtiofsd exits before the guest shuts down
	ResumeFile    = "resume"       // created when claude-vm-resume@ has something to do
)

// ScratchSerial is the serial number of the virtio-blk disk that the guest divides in two halves:
// swap space, and a file system.
const ScratchSerial = "scratch"

// GitIgnoreFile is the path in the guest of what its git ignores in all repositories.
const GitIgnoreFile = "/run/claude-vm/gitignore"

// GatewayName is the name of the gateway in the guest.
const GatewayName = "gateway.internal"

// Names used in the SSH protocol.
const (
	// BeginChannel is a channel type. The client writes Begin as JSON and closes its
	// side; the guest replies with BeginReply as JSON.
	BeginChannel = "begin@claude-vm"
	// ChangesChannel is a channel type. The client writes Changes, and the guest replies to each with a
	// ChangesReply, as JSON.
	ChangesChannel = "changes@claude-vm"
	// SessionSubsystem attaches a session channel to Claude: to its terminal or, if
	// it has none, to its standard streams.
	SessionSubsystem = "claude"
	// AgentSubsystem connects the guest to an SSH agent on the host: the guest opens
	// agent channels on this connection, as OpenSSH servers do.
	AgentSubsystem = "ssh-agent"
	// UserClaude and UserRoot are SSH user names.
	UserClaude = "claude"
	UserRoot   = "root"
)

// Session describes how to start Claude.
type Session struct {
	Arguments   []string          `json:"arguments,omitempty"`
	Environment map[string]string `json:"environment,omitempty"`
	// Terminal gives Claude a terminal instead of three pipes.
	Terminal bool `json:"terminal"`
	Rows     int  `json:"rows,omitempty"`
	Columns  int  `json:"columns,omitempty"`
	// Attached means that a client will attach to Claude's standard streams. If neither
	// Attached nor Terminal is set, they are connected to the guest's journal.
	Attached bool `json:"attached,omitempty"`
}

// ImageDisk is the serial number of the disk with the root directory of a container image.
const ImageDisk = "image"

// Image means that Claude, shells and commands run in the root directory on ImageDisk.
type Image struct {
	Environment []string `json:"environment,omitempty"` // NAME=VALUE
}

// Mount is a directory or file at the root of the share and its path in the guest.
type Mount struct {
	Name string `json:"name"`
	Path string `json:"path"`
}

// Begin turns a booted guest, which has nothing specific to an instance, into an instance.
type Begin struct {
	Version int `json:"version"`
	Session
	// Settings are the settings of Claude Code, a JSON object. If empty, Claude Code
	// uses the settings in its home directory.
	Settings  json.RawMessage `json:"settings,omitempty"`
	Directory string          `json:"directory"` // path of the work directory on the host
	Mounts    []Mount         `json:"mounts,omitempty"`
	Image     *Image          `json:"image,omitempty"`
	// GitDirectory is the path of ShareGit on the host; empty if it is not shared.
	GitDirectory string `json:"gitDirectory,omitempty"`
	// GitDirectories are paths of git directories in the guest that have linked worktrees.
	// Those that exist on the host only must appear to exist, or git would forget them.
	GitDirectories []string `json:"gitDirectories,omitempty"`
	Home           bool     `json:"home,omitempty"` // the share contains ShareHome
	// UserConfig means that the share contains ShareClaude.
	UserConfig bool `json:"userConfig,omitempty"`
	// ClaudeCode means that the share contains ShareClaudeCode.
	ClaudeCode bool `json:"claudeCode,omitempty"`
	// GitConfig is a configuration file for git, which others override.
	GitConfig string `json:"gitConfig,omitempty"`
	// GitIgnore is the content of GitIgnoreFile.
	GitIgnore string `json:"gitIgnore,omitempty"`
	// Files is the number of files that virtiofsd can have open; 0 if it is unknown.
	Files int `json:"files,omitempty"`
	// ForwardAgent means that the host will open AgentSubsystem.
	ForwardAgent bool      `json:"forwardAgent,omitempty"`
	Time         time.Time `json:"time"`               // of the host's clock
	Entropy      []byte    `json:"entropy"`            // for the kernel's random pool
	TimeZone     string    `json:"timeZone,omitempty"` // such as Europe/Berlin; empty if unknown
	MachineID    string    `json:"machineID"`          // 32 hexadecimal digits
	Hostname     string    `json:"hostname"`
}

// BeginReply is the guest's reply to Begin. An empty Error means that Claude is running.
type BeginReply struct {
	Error string `json:"error,omitempty"`
}

// Changes are files and directories in ShareWork that have changed.
type Changes struct {
	Changes []Change `json:"changes"`
}

// Change is a changed file, or a directory in which a name is new or gone.
type Change struct {
	Path     []byte `json:"path"`     // relative to ShareWork; any bytes
	Modified int64  `json:"modified"` // time of the last modification, in nanoseconds since 1970
}

// ChangesReply tells whether a program in the guest watches files of the share.
type ChangesReply struct {
	Watched bool `json:"watched"`
}

// Status is what the guest has reported so far. The keys are those of sd_notify(3).
type Status struct {
	Ready    bool   // READY=1
	Stopping bool   // STOPPING=1: an orderly power-off has started
	Text     string // STATUS=
	Exit     *int   // EXIT_STATUS=, the exit status of Claude
	Drops    int    // CACHE_DROPS=, how often the guest has dropped its caches to close files
}

// ParseStatus reads a status file. Invalid lines are ignored: the guest writes the file
// and is not trusted.
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
		case "CACHE_DROPS":
			if n, err := strconv.ParseUint(value, 10, 31); err == nil {
				s.Drops = int(n)
			}
		case "EXIT_STATUS":
			if n, err := strconv.ParseUint(value, 10, 8); err == nil {
				exit := int(n)
				s.Exit = &exit
			}
		}
	}
	return s
}
