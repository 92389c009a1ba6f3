package step

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"golang.org/x/sys/unix"
)

// qmpTimeout bounds the talk with QEMU's monitor, which answers at once or
// hangs.
const qmpTimeout = 5 * time.Second

// powerOff presses the guest's power button and waits until QEMU has ended.
// The unit's TimeoutStopSec= bounds that.
func powerOff(ctx context.Context, _ []string) (int, error) {
	qemu, err := openMainPID()
	if err != nil {
		return 0, nil // it has powered off by itself
	}
	if shareDied() {
		// systemd stops a VM whose share is gone as if somebody had wished it.
		// The guest would hang in its file system: let QEMU be killed.
		return 0, os.WriteFile(contract.ShareDiedFile, nil, 0o600)
	}
	notify("STATUS=Shutting down")
	err = pressPowerButton()
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED) {
		err = nil // QEMU has removed its socket: it is on its way out
	}
	if err == nil {
		awaitPID(qemu)
	}
	return 0, err
}

// shareDied says whether virtiofsd ended before the guest did. In an orderly
// end it may be gone a moment before QEMU is.
func shareDied() bool {
	if status := readStatus(); status.Exit != nil || status.Stopping {
		return false
	}
	return !shareLives(true)
}

// shareLives looks at the lock that virtiofsd holds; unknown is what to say
// when there is none to look at.
func shareLives(unknown bool) bool {
	lock, err := os.Open(contract.ShareLock)
	if err != nil {
		return unknown
	}
	defer lock.Close()
	return unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil
}

// shareTimeout bounds the wait for virtiofsd, which follows its client at once.
const shareTimeout = 5 * time.Second

// endShare ends virtiofsd as the end of its client does, and waits for that. If
// QEMU has never come, this is the client.
func endShare(context.Context, []string) (int, error) {
	if conn, err := net.Dial("unix", contract.ShareSocket); err == nil {
		conn.Close()
	}
	for end := time.Now().Add(shareTimeout); shareLives(false) && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
	return 0, nil
}

func pressPowerButton() error {
	conn, err := net.DialTimeout("unix", contract.QMPSocket, qmpTimeout)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(qmpTimeout))
	replies := json.NewDecoder(conn)
	for _, command := range []string{"", "qmp_capabilities", "system_powerdown"} {
		if command != "" {
			if err := json.NewEncoder(conn).Encode(map[string]string{"execute": command}); err != nil {
				return err
			}
		}
		if err := qmpReply(replies); err != nil {
			return fmt.Errorf("QEMU's monitor: %s: %w", cmp.Or(command, "its greeting"), err)
		}
	}
	return nil
}

// qmpReply reads the greeting or the reply to a command, past any events.
func qmpReply(replies *json.Decoder) error {
	for {
		var m struct {
			QMP    json.RawMessage
			Return json.RawMessage
			Error  *struct{ Desc string }
		}
		if err := replies.Decode(&m); err != nil {
			return err
		}
		if m.Error != nil {
			return fmt.Errorf("%s", m.Error.Desc)
		}
		if m.QMP != nil || m.Return != nil {
			return nil
		}
	}
}
