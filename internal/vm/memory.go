package vm

import (
	"errors"
	"strconv"
	"strings"

	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/size"
)

// minMemory is what the guest's kernel, systemd and Claude Code need to start.
// maxMemory is more than today's machines have, and QEMU computes it without overflow.
const (
	minMemory = 512 << 20
	maxMemory = 64 << 40
)

// ParseMemory parses the memory size of a guest and returns it in bytes.
func ParseMemory(text string) (uint64, error) {
	n, err := size.Parse(text)
	switch {
	case err != nil:
		return 0, err
	case n > maxMemory:
		return 0, errors.New("too large")
	case n < minMemory:
		hint := ""
		if last := text[len(text)-1]; last <= '9' && n<<20 >= minMemory {
			hint = "a number without a suffix is in bytes; did you mean " + text + "M?"
		}
		return 0, failure.New(failure.Usage, hint, "less than the %s that the guest needs", size.Format(minMemory))
	case n%(1<<20) != 0:
		return 0, errors.New("not a whole number of MiB")
	}
	return n, nil
}

// MaxOverhead is what QEMU, or virtiofsd, may use in addition to the guest's memory: up to 1 GiB for
// translated code without KVM, and buffers. MemoryMax= in the units has it, too.
const MaxOverhead = 1536 << 20

// memoryLine limits the memory of a process that maps the guest's. The kernel charges a page of it to
// the unit that first touches it, so virtiofsd needs as much as QEMU.
func (v *VM) memoryLine() string {
	return "MemoryMax=" + strconv.FormatUint((v.Memory+MaxOverhead)>>20, 10) + "M"
}

// minScratch is the size of a disk that is worth its overhead.
const minScratch = 64 << 20

// ParseScratch parses the size of a scratch disk and returns it in bytes, 0 for no disk.
func ParseScratch(text string) (uint64, error) {
	switch strings.ToLower(text) {
	case "0", "no", "n", "false", "f", "off":
		return 0, nil
	}
	n, err := size.Parse(text)
	switch {
	case err != nil:
		return 0, err
	case n > maxMemory:
		return 0, errors.New("too large")
	case n < minScratch:
		return 0, failure.New(failure.Usage, "Scratch=no turns it off", "less than %s", size.Format(minScratch))
	case n%(1<<20) != 0:
		return 0, errors.New("not a whole number of MiB")
	}
	return n, nil
}
