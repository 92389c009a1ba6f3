package step

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"github.com/t0mpr1c3/claude-microvm/internal/guest"
	"github.com/t0mpr1c3/claude-microvm/internal/unixsocket"
	"golang.org/x/sys/unix"
)

// qmpTimeout limits the time for all QMP commands. QEMU's monitor replies immediately unless
// it hangs.
const qmpTimeout = 5 * time.Second

// powerOff presses the guest's power button and waits until QEMU has exited.
// TimeoutStopSec= of the unit limits the wait.
func powerOff(ctx context.Context, _ []string) (int, error) {
	qemu, err := openMainPID()
	if err != nil {
		return 0, nil // QEMU has already exited
	}
	if shareDied() {
		// systemd stops the VM because virtiofsd has died. The guest cannot shut down,
		// as it hangs in file system calls: let systemd kill QEMU.
		return 0, os.WriteFile(contract.ShareDiedFile, nil, 0o600)
	}
	notify("STATUS=Shutting down")
	err = pressPowerButton()
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED) {
		err = nil // QEMU has closed its socket because it is exiting
	}
	if err == nil {
		awaitExit(qemu)
	}
	return 0, err
}

// shareDied reports whether virtiofsd has exited before the guest started to shut down.
// During a shutdown, it is normal that virtiofsd exits shortly before QEMU.
func shareDied() bool {
	if status := guest.ReadStatus("."); status.Exit != nil || status.Stopping {
		return false
	}
	return !shareLives(true)
}

// shareLives reports whether virtiofsd is running, that is, whether it holds the lock that
// the share step has taken. If the lock file does not exist, it returns unknown.
func shareLives(unknown bool) bool { return isLocked(contract.ShareLock, unknown) }

// isLocked reports whether a process holds the lock of a file. If the file does not exist, it
// returns unknown.
func isLocked(file string, unknown bool) bool {
	lock, err := os.OpenFile(file, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return unknown
	}
	defer lock.Close()
	return unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil
}

// shareTimeout limits the wait for virtiofsd, which exits as soon as its client does.
const shareTimeout = 5 * time.Second

// endShare stops virtiofsd and waits until it has exited. virtiofsd exits when its client
// disconnects. The client is QEMU or, if QEMU has never connected, endShare.
func endShare(context.Context, []string) (int, error) {
	if conn, err := unixsocket.Dial(context.Background(), ".", contract.ShareSocket); err == nil {
		conn.Close()
	}
	for end := time.Now().Add(shareTimeout); shareLives(false) && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
	return 0, nil
}

func pressPowerButton() error {
	ctx, cancel := context.WithTimeout(context.Background(), qmpTimeout)
	defer cancel()
	m, err := openMonitor(ctx)
	if err != nil {
		return err
	}
	defer m.Close()
	return m.run("system_powerdown", nil, nil)
}
