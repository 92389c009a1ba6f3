package vm

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"github.com/t0mpr1c3/claude-microvm/internal/policy"
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
	unitCount // length of an array that is indexed by Unit; element 0 is unused
)

// Base is the VM that applies without the drop-ins to be written: the defaults of the
// units, the settings of defaults.conf or, for overrides, those of the .vm file.
type Base struct {
	vm     VM
	values values
	lists  [listCount]list
	err    error // of checkWords
}

// Base returns v as a Base. Call it once for all VMs: one call per VM costs 11 % more
// user time with 1000 files.
func (v *VM) Base() *Base {
	return &Base{vm: *v, values: v.values(), lists: v.lists(), err: v.checkWords()}
}

// checkWords returns an error if a word of QEMUArguments= cannot be written to a unit file.
func (v *VM) checkWords() error {
	if _, err := unitfile.JoinPlain(v.QEMUArguments); err != nil {
		return fmt.Errorf("QEMUArguments=: %w", err)
	}
	return nil
}

// Lines returns the [Service] lines of the drop-ins with which an instance gets the settings
// of v instead of b. The index is the Unit. It returns an error for settings that cannot be
// reset or cannot be written to a unit file.
func (b *Base) Lines(v *VM) ([unitCount][]string, error) {
	var out [unitCount][]string
	if err := cmp.Or(b.err, v.checkWords()); err != nil {
		return out, err
	}
	if b.vm.Guest != "" && v.Guest == "" {
		file := "defaults.conf"
		if b.vm.Name != "" {
			file = b.vm.Name + ".vm"
		}
		return out, fmt.Errorf("Guest=%s in %s cannot be reset: set another Guest= instead", b.vm.Guest, file)
	}
	for i, value := range v.values() {
		if value == b.values[i] {
			continue
		}
		for _, unit := range Settings[i].units {
			out[unit] = append(out[unit], Settings[i].line(value))
		}
	}
	if v.Memory != b.vm.Memory {
		out[Share] = append(out[Share], v.memoryLine())
		if !v.MemoryMax {
			out[Machine] = append(out[Machine], v.memoryLine())
		}
	}
	if v.sameLists(&b.vm) {
		return out, nil
	}
	for i, l := range v.lists() {
		out[l.unit] = append(out[l.unit], l.from(b.lists[i])...)
	}
	return out, nil
}

// Refused returns a VM that has v's refusal and the settings of b otherwise.
func (b *Base) Refused(v *VM) VM {
	r := b.vm.Clone()
	r.Refusal, r.RefusalHint, r.Source = v.Refusal, v.RefusalHint, v.Source
	r.Unit, r.Service, r.Links = nil, nil, nil
	return r
}

// list is a list-valued setting of a unit. systemd appends the lines of a drop-in to the
// list of the unit and of defaults.conf, so a value can be removed only by a reset.
type list struct {
	unit  Unit
	lines []string
	// reset is the line that empties the list; empty if lines of base may
	// remain, as with guestLines and mountLines.
	reset string
}

// sameLists reports whether lists returns the same for v and w. Then the VM needs no lines
// for them. Without this test, the lines of 1000 VMs take 15 % more user time.
func (v *VM) sameLists(w *VM) bool {
	return v.Guest == w.Guest && slices.Equal(v.Credentials, w.Credentials) && slices.Equal(v.Inject, w.Inject) && slices.Equal(v.Mounts, w.Mounts)
}

func (v *VM) lists() [listCount]list {
	return [listCount]list{
		{Machine, v.guestLines(), ""},
		{Machine, v.credentialLines(), "LoadCredential="},
		{Setup, v.secretLines(), "LoadCredential="},
		{Share, v.mountLines(), ""},
	}
}

// from returns the lines that must follow the lines of base for the result l: only the
// added ones if l starts with base, otherwise a reset and all lines of l.
func (l list) from(base list) []string {
	n := len(base.lines)
	switch {
	case slices.Equal(l.lines, base.lines):
		return nil
	case n <= len(l.lines) && slices.Equal(l.lines[:n], base.lines):
		return l.lines[n:]
	case l.reset == "":
		return l.lines
	}
	return append([]string{l.reset}, l.lines...)
}

func (v *VM) guestLines() []string {
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

// networkCard are the arguments of QEMU for the network card, as in claude-vm@.service.
const networkCard = "-netdev stream,id=net0,server=on,addr.type=unix,addr.path=net.sock -device virtio-net-pci,netdev=net0,romfile=,host_mtu=65520"

// network returns QEMU's arguments for the network card, if there is one.
func (v *VM) network() string {
	if v.Network == policy.None {
		return ""
	}
	return networkCard
}

// scratchDisk returns QEMU's arguments for the scratch disk, as in claude-vm@.service.
func (v *VM) scratchDisk() string {
	if v.Scratch == 0 {
		return ""
	}
	return "-blockdev driver=nbd,node-name=scratch,server.type=unix,server.path=scratch.sock,discard=unmap -device virtio-blk-pci,drive=scratch,serial=scratch,werror=report,rerror=report"
}

// imageDisk returns QEMU's arguments for the disk with the image, if there is one. The setup step
// decides which file it is.
func (v *VM) imageDisk() string {
	if v.Image == "" {
		return ""
	}
	return "-blockdev driver=file,node-name=image,filename=/tmp/image.erofs,read-only=on,locking=off -device virtio-blk-pci,drive=image,serial=" + contract.ImageDisk
}

// injected reports whether a credential stays on the host.
func (v *VM) injected(name string) bool {
	return slices.ContainsFunc(v.Inject, func(i Injection) bool { return i.Name == name })
}

// credentialLines load the credentials that enter the guest.
func (v *VM) credentialLines() []string {
	var lines []string
	for _, c := range v.Credentials {
		if !v.injected(c.Name) {
			lines = append(lines, c.line())
		}
	}
	return lines
}

// secretLines load the credentials that stay on the host.
func (v *VM) secretLines() []string {
	var lines []string
	for _, i := range v.Inject {
		c := Credential{Name: i.Name}
		for _, other := range v.Credentials {
			if other.Name == i.Name {
				c = other
			}
		}
		line := c.line()
		if slices.Contains(lines, line) {
			continue
		}
		// Then a missing file is not an error of systemd's, since setup can find the secret elsewhere.
		if optional := "SetCredential=" + c.Name + `:\n`; c.Path == "" && i.Host != "" && !slices.Contains(lines, optional) {
			lines = append(lines, optional)
		}
		lines = append(lines, line)
	}
	return lines
}

func (c Credential) line() string {
	file := unitfile.EscapeSpecifiers(c.Path)
	if c.Path == "" {
		file = "%h/.config/credstore/" + c.Name
	}
	return "LoadCredential=" + c.Name + ":" + file
}

// ShareName returns the name of the i-th mount in the shared directory.
func (m Mount) ShareName(i int) string {
	if m.ReadOnly {
		return fmt.Sprint("ro", i)
	}
	return fmt.Sprint("rw", i)
}

// mountLines returns lines that bind the links in .ID.share, which the setup step
// creates. What they point to is decided there.
func (v *VM) mountLines() []string {
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
