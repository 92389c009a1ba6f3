package step

import (
	"context"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/coreos/go-systemd/v22/journal"
	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"github.com/t0mpr1c3/claude-microvm/internal/guard"
	"github.com/t0mpr1c3/claude-microvm/internal/hide"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/protect"
	"golang.org/x/sys/unix"
)

// startGuard records the files that programs of the host execute or obey, before the guest of
// the instance on args[0] can change them.
func startGuard(ctx context.Context, args []string) (int, error) {
	paths, err := instance.HostPaths()
	if err != nil {
		return 0, err
	}
	id := instance.Escape(args[0])
	r, err := paths.ReadRecord(id)
	if err != nil {
		return 0, err
	}
	g := guard.Open(paths.GuardFile(id))
	if !r.Settings.Guard {
		return 0, g.Remove()
	}
	return 0, g.Start(ctx, guarded(r))
}

// guarded returns the shared directories that programs of the host use and the guest can change.
func guarded(r instance.Record) []string {
	names := []string{contract.ShareWork, contract.ShareGit}
	for i, m := range r.Settings.Mounts {
		if !m.ReadOnly {
			names = append(names, m.ShareName(i))
		}
	}
	var roots []string
	for _, s := range r.Shares {
		if slices.Contains(names, s.Name) {
			roots = append(roots, s.Path)
		}
	}
	return roots
}

// endGuard reports which of these files have changed.
func endGuard(ctx context.Context, args []string) (int, error) {
	paths, err := instance.HostPaths()
	if err != nil {
		return 0, err
	}
	id := instance.Escape(args[0])
	if err := reportUnhidden(ctx, paths, id); err != nil {
		fmt.Fprintf(os.Stderr, "search for paths that match Hide=: %v\n", err)
	}
	found, err := guard.Open(paths.GuardFile(id)).End(ctx)
	if err != nil || len(found) == 0 {
		return 0, err
	}
	count := map[guard.Change]int{}
	for _, f := range found {
		count[f.Change]++
	}
	text := fmt.Sprintf("%d files that programs of this machine execute or obey were changed while the VM ran, for example %s; see claude-vm-ctl guard",
		len(found), guard.Display(found[0].Path))
	notify("STATUS=" + text)
	priority := journal.PriNotice
	if found[0].Severity == guard.High {
		priority = journal.PriWarning
	}
	fields := map[string]string{}
	for _, change := range []guard.Change{guard.New, guard.Changed, guard.Gone, guard.Unread} {
		fields["CLAUDE_VM_GUARD_"+strings.ToUpper(string(change))] = fmt.Sprint(count[change])
	}
	send(text, priority, fields)
	return 0, nil
}

// send writes a line with fields to the journal, or at least the line.
func send(text string, priority journal.Priority, fields map[string]string) {
	if fields["SYSLOG_IDENTIFIER"] = "claude-vm-guard"; journal.Send(text, priority, fields) != nil {
		fmt.Fprintln(os.Stderr, text)
	}
}

// reportUnhidden reports paths that match a pattern of Hide= but were not hidden, because they did
// not exist at the start.
func reportUnhidden(ctx context.Context, paths instance.Paths, id string) error {
	r, err := paths.ReadRecord(id)
	if err != nil || len(r.Shares) == 0 {
		return err
	}
	unhidden, err := findUnhidden(ctx, r.Shares[0], r.Settings.Hide)
	if err != nil || len(unhidden) == 0 {
		return err
	}
	text := fmt.Sprintf("%d paths match Hide= but were created while the VM ran, which could read them, for example %s",
		len(unhidden), guard.Display(unhidden[0]))
	send(text, journal.PriWarning, map[string]string{})
	return nil
}

// findUnhidden returns what matches the patterns of Hide= in the work directory and is not hidden.
func findUnhidden(ctx context.Context, work instance.Share, patterns []string) ([]string, error) {
	rules := hide.Compile(patterns)
	if rules.Empty() {
		return nil, nil
	}
	fd, err := protect.Open(work.Path)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	found, err := rules.Find(ctx, fd)
	if err != nil {
		return nil, err
	}
	hidden := map[string]bool{}
	for _, m := range work.Mounts {
		hidden[m.Path] = m.Mode == protect.Hidden
	}
	return slices.DeleteFunc(found, func(p string) bool {
		for ; p != "."; p = path.Dir(p) {
			if hidden[p] {
				return true
			}
		}
		return false
	}), nil
}
