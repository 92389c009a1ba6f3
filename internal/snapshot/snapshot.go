// Package snapshot keeps the saved memory of guests that have booted and not yet received begin.
// VMs resume from it instead of booting. A snapshot fits only the QEMU command, host and guest that
// its key is made of.
package snapshot

import (
	"bufio"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/t0mpr1c3/claude-microvm/internal/confine"
	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"github.com/t0mpr1c3/claude-microvm/internal/unitfile"
	"golang.org/x/sys/unix"
)

// format is increased by each change of this program after which a guest that resumes from an older
// snapshot would not work.
const format = 1

// Spec describes a snapshot that can be made: all that its unit needs.
type Spec struct {
	Command   []string `json:"command"`         // of QEMU, as Normalize returns it
	Virtiofsd string   `json:"virtiofsd"`       // path
	Bundle    string   `json:"bundle"`          // directory of the guest bundle
	Image     string   `json:"image,omitempty"` // file of the container image; empty for none
	KVM       bool     `json:"kvm"`
	Memory    uint64   `json:"memory"` // of the guest, in bytes
	CPUs      int      `json:"cpus"`
	Guest     string   `json:"guest"` // what Claude runs in, for people
	// Host and Insecure are for confine.Check.
	Host     confine.Host `json:"host"`
	Insecure []string     `json:"insecure,omitempty"`
}

// Use is what the record of a run has about its snapshot.
type Use struct {
	Key string `json:"key"`
	// Command is the Digest of the command with which QEMU must be started to resume.
	Command string `json:"command"`
	// Resume means that the VM resumes. Otherwise it boots, and the snapshot is made afterwards.
	Resume bool `json:"resume,omitempty"`
	KVM    bool `json:"kvm,omitempty"`
}

// Normalize returns QEMU's command without what differs between instances, and is not part of the
// state of the guest.
func Normalize(command []string) []string {
	c := slices.Clone(command)
	if i := slices.Index(c, "-name"); i >= 0 && i+1 < len(c) {
		c[i+1] = "guest=snapshot"
	}
	return c
}

// Digest returns a hash of a normalized command.
func Digest(command []string) string {
	sum := sha256.Sum256([]byte(strings.Join(Normalize(command), "\x00")))
	return hex.EncodeToString(sum[:16])
}

// Possible reports whether a VM with this command can resume. Without the device, the guest's kernel
// would not notice that it is a copy, and return the random numbers of all other copies.
func Possible(command []string) bool {
	return slices.ContainsFunc(command, func(word string) bool { return strings.HasPrefix(word, "vmgenid,") })
}

var variable = regexp.MustCompile(`\$\$|\$\{[A-Za-z_][A-Za-z0-9_]*\}`)

// Expand replaces variables in a command as systemd does; see systemd.service(5). $NAME as a word of
// its own becomes several words or none.
func Expand(command []string, environment map[string]string) []string {
	var all []string
	for _, word := range command {
		name, found := strings.CutPrefix(word, "$")
		if found && name != "" && !strings.ContainsAny(name, "${}") {
			words, err := unitfile.Split(environment[name])
			if err != nil { // the step exec will find that the command differs
				words = strings.Fields(environment[name])
			}
			all = append(all, words...)
			continue
		}
		all = append(all, variable.ReplaceAllStringFunc(word, func(v string) string {
			if v == "$$" {
				return "$"
			}
			return environment[strings.Trim(v, "${}")]
		}))
	}
	return all
}

// Key returns the name of the snapshot of s: a hash of all that its content depends on.
func (s *Spec) Key() (string, error) {
	inputs := struct {
		Format, Contract int
		Command          []string
		KVM              bool
		Host, Kernel     string
		Files            []string
	}{Format: format, Contract: contract.Version, Command: Normalize(s.Command), KVM: s.KVM}
	qemu, err := exec.LookPath(s.Command[0])
	if err != nil {
		return "", err
	}
	files := []string{qemu, s.Virtiofsd}
	for _, name := range []string{"kernel", "initrd", "root.erofs"} {
		files = append(files, filepath.Join(s.Bundle, name))
	}
	if s.Image != "" {
		files = append(files, s.Image)
	}
	for _, file := range files {
		id, err := identity(file)
		if err != nil {
			return "", err
		}
		inputs.Files = append(inputs.Files, id)
	}
	if inputs.Host, err = processor("/proc/cpuinfo"); err != nil {
		return "", err
	}
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return "", os.NewSyscallError("uname", err)
	}
	inputs.Kernel = unix.ByteSliceToString(name.Release[:]) + unix.ByteSliceToString(name.Version[:])
	text, err := json.Marshal(inputs)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16]), nil
}

// identity returns a text that changes when a file is replaced or written. In the Nix store, the time
// does not change, but the path does.
func identity(path string) (string, error) {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", err
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s %d %d", path, info.Size(), info.ModTime().UnixNano()), nil
}

// processor returns the model and the features of the first processor in a file as /proc/cpuinfo.
// QEMU does not check them when it resumes, and the guest would not answer or crash.
func processor(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	var lines []string
	for s := bufio.NewScanner(f); s.Scan() && s.Text() != ""; {
		name, _, _ := strings.Cut(s.Text(), ":")
		switch strings.TrimSpace(name) {
		case "vendor_id", "cpu family", "model", "model name", "stepping", "microcode", "flags", "vmx flags", "bugs",
			"Features", "CPU implementer", "CPU architecture", "CPU variant", "CPU part", "CPU revision":
			lines = append(lines, s.Text())
		}
	}
	return strings.Join(lines, "\n"), nil
}

// keyLength is the length of the result of Key.
const keyLength = 32

// IsKey reports whether text can be a key.
func IsKey(text string) bool {
	return len(text) == keyLength && strings.Trim(text, "0123456789abcdef") == ""
}

// Compare orders snapshots by their last use, the newest first.
func Compare(a, b Snapshot) int {
	return cmp.Or(b.Used.Compare(a.Used), strings.Compare(a.Key, b.Key))
}
