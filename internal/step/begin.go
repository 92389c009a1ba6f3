package step

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/guest"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/vmfile"
	"golang.org/x/sys/unix"
)

// begin waits for the guest to boot and makes it the instance on args[0].
// It fails as soon as QEMU has ended; systemd itself would wait for the time-out.
func begin(ctx context.Context, args []string) (int, error) {
	notify("STATUS=Booting the guest")
	qemu, err := openMainPID()
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		awaitPID(qemu)
		cancel(errors.New("QEMU ended; its last words are in the journal"))
	}()
	relayed := make(chan struct{})
	go func() {
		relayStatus(ctx)
		close(relayed)
	}()
	if err = beginInstance(ctx, args[0]); err != nil {
		// The connection into a VM ends a moment before the process does.
		select {
		case <-ctx.Done():
			err = context.Cause(ctx)
		case <-time.After(time.Second):
		}
	}
	cancel(nil)
	<-relayed // the last word is ours
	switch {
	case err == nil:
		notify("STATUS=Claude Code is running")
	case errors.Is(err, context.Canceled):
		return 0, nil // a stop
	}
	return 0, err
}

// beginInstance makes the guest the instance on a directory.
func beginInstance(ctx context.Context, dir string) error {
	paths, err := instance.HostPaths()
	if err != nil {
		return err
	}
	record, err := paths.ReadRecord(instance.Escape(dir))
	if err != nil {
		return err
	}
	client, err := dialBooting(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	// From here on the guest is not as we made it.
	if err := limitFiles(); err != nil {
		return err
	}
	b, err := newBegin(record, dir)
	if err != nil {
		return err
	}
	return client.Begin(b)
}

// dialBooting connects to a VM whose sockets QEMU is about to make.
func dialBooting(ctx context.Context) (*guest.Client, error) {
	for {
		client, err := guest.Dial(ctx, ".", contract.UserRoot)
		// Not there yet, or left by the run before and not listening.
		if !errors.Is(err, os.ErrNotExist) && !errors.Is(err, unix.ECONNREFUSED) {
			return client, err
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// newBegin returns what the guest gets to know of a run.
func newBegin(r instance.Record, dir string) (contract.Begin, error) {
	b := contract.Begin{
		Version: contract.Version, Session: r.Request.Session, Settings: r.ClaudeSettings,
		Time: time.Now(), Entropy: make([]byte, 64),
	}
	rand.Read(b.Entropy) // never fails
	var id [16]byte
	rand.Read(id[:])
	// machine-id(5): a random UUID of version 4.
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	b.MachineID = fmt.Sprintf("%x", id)
	b.Hostname = hostname(dir, b.MachineID)
	secrets, err := credentials()
	if err != nil {
		return b, err
	}
	b.Environment = maps.Clone(r.Request.Environment)
	if b.Environment == nil {
		b.Environment = map[string]string{}
	}
	for _, entry := range os.Environ() {
		if name, value, _ := strings.Cut(entry, "="); instance.IsPassed(name) && b.Environment[name] == "" && name != "TERM" {
			b.Environment[name] = value
		}
	}
	for name, value := range secrets {
		if b.Environment[name] == "" {
			b.Environment[name] = value
		}
	}
	applySettings(&b, r.Settings)
	return b, nil
}

// hostname makes a name for the guest that a person recognises.
func hostname(dir, machineID string) string {
	base := strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9':
			return r
		case 'A' <= r && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '-'
	}, filepath.Base(dir))
	base = strings.Trim(base[:min(len(base), 40)], "-")
	if base == "" {
		base = "claude-vm"
	}
	return base + "-" + machineID[:6]
}

// credentials reads the unit's credentials; each that has a variable's name
// becomes one of Claude's.
func credentials() (map[string]string, error) {
	found := map[string]string{}
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	if dir == "" {
		return found, nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		if !vmfile.IsVariable(entry.Name()) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			return nil, err
		}
		if value := strings.TrimSpace(string(text)); value != "" {
			found[entry.Name()] = value
		}
	}
	return found, nil
}

// maxStatusFile bounds, in bytes, what the guest can make QEMU write into the
// runtime directory, which is small, and without which a login does not work.
const maxStatusFile = 1 << 20

// limitFiles bounds QEMU's files. LimitFSIZE= in the unit would also forbid the
// memory of the guest, which is a file, and one that QEMU has made by now.
func limitFiles() error {
	pid, err := strconv.Atoi(os.Getenv("MAINPID"))
	if err != nil {
		return err
	}
	limit := unix.Rlimit{Cur: maxStatusFile, Max: maxStatusFile}
	return os.NewSyscallError("prlimit", unix.Prlimit(pid, unix.RLIMIT_FSIZE, &limit, nil))
}

// relayStatus makes the guest's own words the unit's status while it starts.
func relayStatus(ctx context.Context) {
	last := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(100 * time.Millisecond):
		}
		if text := failure.OneLine(readStatus().Text); text != last && ctx.Err() == nil {
			last = text
			notify("STATUS=" + text)
		}
	}
}

// openMainPID gives a pidfd of the unit's main process, QEMU.
func openMainPID() (int, error) {
	pid, err := strconv.Atoi(os.Getenv("MAINPID"))
	if err != nil {
		return -1, errors.New("QEMU does not run")
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return -1, fmt.Errorf("QEMU ended: %w", err)
	}
	return fd, nil
}

// awaitPID returns when the process of a pidfd has ended.
func awaitPID(fd int) {
	for {
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
		if err != unix.EINTR {
			return
		}
	}
}
