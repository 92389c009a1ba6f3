package step

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/coreos/go-systemd/v22/journal"
	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"github.com/t0mpr1c3/claude-microvm/internal/guard"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
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
	found, err := guard.Open(paths.GuardFile(instance.Escape(args[0]))).End(ctx)
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
	fields := map[string]string{"SYSLOG_IDENTIFIER": "claude-vm-guard"}
	for _, change := range []guard.Change{guard.New, guard.Changed, guard.Gone, guard.Unread} {
		fields["CLAUDE_VM_GUARD_"+strings.ToUpper(string(change))] = fmt.Sprint(count[change])
	}
	if journal.Send(text, priority, fields) != nil {
		fmt.Fprintln(os.Stderr, text)
	}
	return 0, nil
}
