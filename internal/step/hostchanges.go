package step

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"github.com/t0mpr1c3/claude-microvm/internal/guest"
	"github.com/t0mpr1c3/claude-microvm/internal/hostchanges"
)

// watchHost tells the guest what changes in the work directory, which is mounted at args[0], so that programs
// that watch it with inotify(7) notice changes of the host. It runs in virtiofsd's unit, and sees what
// virtiofsd sees: no hidden file.
func watchHost(ctx context.Context, args []string) (int, error) {
	if err := dropCapabilities(); err != nil {
		return 0, err
	}
	r := &changeReporter{ctx: ctx}
	defer r.close()
	return 0, hostchanges.Watch(ctx, args[0], r.report, func(err error) {
		fmt.Fprintf(os.Stderr, "programs in the guest do not notice all changes of the host: %v; Inotify=no ends this\n", err)
	})
}

// idleConnection is how long the connection to the guest is kept without changes: it uses a port.
const idleConnection = 30 * time.Second

// changeReporter has a connection to the guest while there is something to report.
type changeReporter struct {
	ctx     context.Context
	client  *guest.Client
	changes *guest.Changes
	idle    *time.Timer
}

// report returns false if the guest does not answer, for example because it is still booting.
func (r *changeReporter) report(changes []contract.Change) (watched bool) {
	if r.idle != nil && !r.idle.Stop() {
		r.close()
	}
	if r.client == nil && r.open() != nil {
		return false
	}
	watched, err := r.changes.Report(changes)
	if err != nil {
		r.close()
		return false
	}
	client := r.client
	r.idle = time.AfterFunc(idleConnection, func() { client.Close() })
	return watched
}

func (r *changeReporter) open() error {
	ctx, cancel := guest.WithTimeout(r.ctx)
	defer cancel()
	client, err := guest.DialLast(ctx, ".", contract.UserClaude) // the unit's working directory
	if err != nil {
		return err
	}
	if r.changes, err = client.OpenChanges(); err != nil {
		client.Close()
		return err
	}
	r.client = client
	return nil
}

func (r *changeReporter) close() {
	if r.client != nil {
		r.client.Close()
		r.client = nil
	}
}
