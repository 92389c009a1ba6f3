// Package hostchanges finds what changes in a shared directory, so that programs in the guest can be told.
// The kernel of the guest tells them of the guest's changes only.
package hostchanges

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/t0mpr1c3/claude-microvm/internal/contract"
)

// pause is how long changes are ignored when no program in the guest watches files, or the guest
// does not answer. Without it, a guest that writes many files would be busy with the answers.
const pause = 2 * time.Second

// Watch reports changes in a directory until ctx is done. Changes of the guest are among them. report
// tells whether a program in the guest watches files. warn is called if there are too many
// directories.
func Watch(ctx context.Context, dir string, report func([]contract.Change) (watched bool), warn func(error)) error {
	t, err := openTree(dir)
	if err != nil {
		return err
	}
	defer t.close()
	defer context.AfterFunc(ctx, func() { t.queue.Close() })()
	t.add(".", func(string) {})
	warned := false
	var last map[string]int64
	for {
		if t.full != nil && !warned {
			warned = true
			warn(t.full)
		}
		paths, err := t.next()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		changes, now := t.changes(paths, last)
		last = now
		if len(changes) == 0 || report(changes) {
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		if err := t.discard(); err != nil && !errors.Is(err, os.ErrClosed) {
			return err
		}
	}
}

// changes returns those of the paths that exist and have another time of modification than in
// last: in the guest, telling of a change sets this time to what it is. now has the times of those
// that are returned.
func (t *tree) changes(paths map[string]bool, last map[string]int64) (changes []contract.Change, now map[string]int64) {
	now = map[string]int64{}
	for p := range paths {
		info, err := t.root.Lstat(p)
		if err != nil || info.Mode().Type()&^os.ModeDir != 0 {
			continue
		}
		modified := info.ModTime().UnixNano()
		if last[p] == modified {
			continue
		}
		now[p] = modified
		changes = append(changes, contract.Change{Path: []byte(p), Modified: modified})
	}
	return changes, now
}
