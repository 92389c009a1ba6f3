package step

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/guest"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/policy"
	"golang.org/x/sys/unix"
)

// begin waits for the guest to boot and turns it into the instance on args[0]. It fails as
// soon as QEMU exits, because systemd would let this ExecStartPost= run until the start
// timeout.
func begin(ctx context.Context, args []string) (int, error) {
	notify("STATUS=Booting the guest")
	qemu, err := openMainPID()
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		awaitExit(qemu)
		cancel(errors.New("QEMU exited; the journal has its last messages"))
	}()
	relayed := make(chan struct{})
	go func() {
		relayStatus(ctx)
		close(relayed)
	}()
	if err = beginInstance(ctx, args[0]); err != nil {
		// If QEMU exits, the connection into the VM is lost shortly before. Wait for the
		// exit, because its error shows the cause.
		select {
		case <-ctx.Done():
			err = context.Cause(ctx)
		case <-time.After(time.Second):
		}
	}
	cancel(nil)
	<-relayed // otherwise relayStatus could overwrite the status that is set below
	switch {
	case err == nil:
		notify("STATUS=Claude Code is running")
	case errors.Is(err, context.Canceled):
		return 0, nil // SIGTERM: systemd stops the unit
	}
	return 0, err
}

// beginInstance connects to the guest and turns it into the instance on a directory.
func beginInstance(ctx context.Context, dir string) error {
	record, err := readRecord(dir)
	if err != nil {
		return err
	}
	// claude-vm@ only wants its gateway, so that the gateway can be restarted.
	if record.Settings.Network != policy.None && !isLocked(contract.GatewayLock, false) {
		return errors.New("the gateway, which is the network of the VM, did not start")
	}
	client, err := connectGuest(ctx, record)
	if err != nil {
		return err
	}
	defer client.Close()
	// Early enough: the guest runs no untrusted code before it receives Begin.
	if err := limitFileSize(); err != nil {
		return err
	}
	b, err := newBegin(record, dir)
	if err != nil {
		return err
	}
	if err := client.Begin(b); err != nil {
		return err
	}
	if s := record.Snapshot; s != nil && !s.Resume {
		if err := requestResume(); err != nil {
			fmt.Fprintf(os.Stderr, "no snapshot is made: %v\n", err)
		}
	}
	return nil
}

// dialBooting connects to a VM whose sockets QEMU may not have created yet.
func dialBooting(ctx context.Context) (*guest.Client, error) {
	for {
		client, err := guest.Dial(ctx, ".", contract.UserRoot)
		// The socket does not exist yet, or is left over from an earlier run.
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

// newBegin returns the begin message for a run.
func newBegin(r instance.Record, dir string) (contract.Begin, error) {
	b := contract.Begin{
		Version: contract.Version, Session: r.Request.Session, Settings: r.ClaudeSettings,
		Directory: r.Settings.WorkDirectory, GitDirectories: r.GitDirectories, GitConfig: r.GitConfig, GitIgnore: r.GitIgnore,
		Time: time.Now(), TimeZone: timeZone("/etc"), Entropy: make([]byte, 64),
	}
	rand.Read(b.Entropy) // never returns an error
	var id [16]byte
	rand.Read(id[:])
	// machine-id(5): a random UUID of version 4.
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	b.MachineID = fmt.Sprintf("%x", id)
	b.Hostname = hostname(dir, b.MachineID)
	var err error
	if b.Files, err = shareFiles(); err != nil {
		return b, err
	}
	b.Environment = maps.Clone(r.Environment)
	if b.Environment == nil {
		b.Environment = map[string]string{}
	}
	secrets, err := credentials()
	if err != nil {
		return b, err
	}
	for name, value := range secrets {
		if b.Environment[name] == "" {
			b.Environment[name] = value
		}
	}
	if r.Image != nil {
		b.Image = &contract.Image{Environment: r.Image.Environment}
	}
	for _, s := range r.Shares {
		switch s.Name {
		case contract.ShareGit:
			b.GitDirectory = s.Path
		case contract.ShareClaude:
			b.UserConfig = true
		case contract.ShareClaudeCode:
			b.ClaudeCode = true
		}
	}
	applySettings(&b, r.Settings)
	applyPlaceholders(&b, r)
	return b, nil
}

// shareFiles returns the number of files that virtiofsd can open. Both units have the same
// LimitNOFILE=.
func shareFiles() (int, error) {
	var limit unix.Rlimit
	err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit)
	return int(min(limit.Max, math.MaxInt32)), os.NewSyscallError("getrlimit", err)
}

// timeZone returns the name of the host's time zone from its configuration in etc; empty if
// it is unknown. See localtime(5).
func timeZone(etc string) string {
	if target, err := os.Readlink(filepath.Join(etc, "localtime")); err == nil {
		if _, name, found := strings.Cut(target, "zoneinfo/"); found {
			return name
		}
	}
	// Debian's name, for a /etc/localtime that is a copy.
	text, _ := os.ReadFile(filepath.Join(etc, "timezone"))
	return strings.TrimSpace(string(text))
}

// hostname returns a host name for the guest: the base name of dir, so that users recognize
// it, and a part of the machine id.
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

// maxStatusFile is the maximum size in bytes of a file that the guest can make QEMU write
// in the runtime directory. It is on a small tmpfs, and logins fail when that is full.
const maxStatusFile = 1 << 20

// limitFileSize sets RLIMIT_FSIZE of QEMU. LimitFSIZE= in the unit would be too early: it
// would also apply to the guest's memory, which is a file that QEMU creates when it starts.
func limitFileSize() error {
	pid, err := strconv.Atoi(os.Getenv("MAINPID"))
	if err != nil {
		return err
	}
	limit := unix.Rlimit{Cur: maxStatusFile, Max: maxStatusFile}
	return os.NewSyscallError("prlimit", unix.Prlimit(pid, unix.RLIMIT_FSIZE, &limit, nil))
}

// relayStatus copies the guest's status text to the unit's status until ctx is done.
func relayStatus(ctx context.Context) {
	last := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(100 * time.Millisecond):
		}
		if text := failure.OneLine(guest.ReadStatus(".").Text); text != last && ctx.Err() == nil {
			last = text
			notify("STATUS=" + text)
		}
	}
}

// openMainPID returns a pidfd of QEMU, the unit's main process.
func openMainPID() (int, error) {
	pid, err := strconv.Atoi(os.Getenv("MAINPID"))
	if err != nil {
		return -1, errors.New("QEMU is not running")
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return -1, fmt.Errorf("QEMU exited: %w", err)
	}
	return fd, nil
}

// awaitExit waits until the process of a pidfd has exited.
func awaitExit(fd int) {
	for {
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
		if err != unix.EINTR {
			return
		}
	}
}
