package step

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/manager"
)

// unitManager is the part of manager.Manager that prepare needs.
type unitManager interface {
	commandManager
	Unit(ctx context.Context, name string) (manager.Unit, error)
	Job(ctx context.Context, name string) (manager.Job, error)
}

// makeRun creates the files of a run, unless another VM shares directories that overlap. Of two
// setups at once, the second finds the record of the first.
func makeRun(ctx context.Context, m unitManager, paths instance.Paths, id string, r instance.Record, s instance.Secrets) error {
	unlock, err := paths.LockRecords()
	if err != nil {
		return err
	}
	defer unlock()
	for _, other := range paths.Recorded() {
		if other == id {
			continue
		}
		live, err := isLive(ctx, m, other)
		if err != nil {
			return err
		}
		if !live { // the record is left over
			continue
		}
		o, err := paths.ReadRecord(other)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read the record of the VM on %s: %w", other, err)
		}
		if own, theirs, found := overlap(r, o); found {
			dir := o.Settings.WorkDirectory
			return failure.New(failure.HostUnable, failure.Command("claude-vm-ctl", "stop", dir),
				"%s overlaps %s of the running VM on %s, whose guest could replace directories of this one", own, theirs, dir)
		}
	}
	return paths.MakeRun(id, r, s)
}

// isLive reports whether a VM runs, starts, stops or waits for its restart.
func isLive(ctx context.Context, m unitManager, id string) (bool, error) {
	unit := instance.VM.Unit(id)
	u, err := m.Unit(ctx, unit)
	if err != nil || !u.Gone() {
		return true, err
	}
	job, err := m.Job(ctx, unit)
	return job.ID != "", err
}

// overlap returns two paths, one of which contains the other: the work directory of one run, and what
// the guest of the other run can change. Two runs can share the same Mount= and the same git directory.
func overlap(a, b instance.Record) (ofA, ofB string, found bool) {
	for _, s := range a.Shares {
		for _, o := range b.Shares {
			work := s.Name == contract.ShareWork || o.Name == contract.ShareWork
			same := s.Inode != 0 && s.Inode == o.Inode && s.Device == o.Device // also at another mount point
			if work && isChangeable(s) && isChangeable(o) && (same || instance.Overlap(s.Path, o.Path)) {
				return s.Path, o.Path, true
			}
		}
	}
	return "", "", false
}

// checkObeyed returns an error if the guest could change the units of the user manager, or .vm files: the
// host would obey them at the next reload. Links in these directories, for example to files in a
// repository, are not followed.
func checkObeyed(paths instance.Paths, shares []instance.Share) error {
	for _, base := range []string{paths.Config, paths.Data, paths.State} {
		base = instance.Physical(base)
		for _, dir := range []string{filepath.Join(base, "claude-vm"), filepath.Join(base, "systemd")} {
			for _, s := range shares {
				if isChangeable(s) && instance.Overlap(s.Path, dir) {
					return fmt.Errorf("refusing to share %s with a VM: its guest could change files in %s, which your user manager or claude-vm obeys", s.Path, dir)
				}
			}
		}
	}
	return nil
}

// isChangeable reports whether a share is the work directory or a Mount= that is not read-only.
func isChangeable(s instance.Share) bool {
	return s.Name == contract.ShareWork || strings.HasPrefix(s.Name, "rw")
}
