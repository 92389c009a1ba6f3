package step

import (
	"context"
	"errors"
	"os"

	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/guest"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"golang.org/x/sys/unix"
)

// sshAgent forwards connections from the guest of the instance on args[0] to the user's
// SSH agent until the VM stops.
func sshAgent(ctx context.Context, args []string) (int, error) {
	paths, err := instance.HostPaths()
	if err != nil {
		return 0, err
	}
	id := instance.Escape(args[0])
	record, err := paths.ReadRecord(id)
	if err != nil {
		return 0, err
	}
	socket := record.Request.AuthSocket
	dialing, cancel := guest.WithTimeout(ctx)
	defer cancel()
	client, err := guest.Dial(dialing, paths.RuntimeDirectory(id), contract.UserClaude)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED) {
		return 0, nil // the VM has stopped
	}
	if err != nil {
		return 0, err
	}
	defer client.Close()
	if err := client.ProvideAgent(socket); err != nil {
		return 0, err
	}
	notify("STATUS=Forwarding to " + failure.OneLine(socket))
	stop := context.AfterFunc(ctx, func() { client.Close() })
	defer stop()
	client.Wait() // the connection is closed when the VM stops
	return 0, nil
}
