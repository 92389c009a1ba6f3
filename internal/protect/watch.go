package protect

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Shared is a directory or file at Root in which Apply has made mounts.
type Shared struct {
	Root   string
	Mounts []Mount
}

// Propagate makes all mounts in a directory shared, so that a mount namespace that is a copy of
// this one gets what Watch mounts later.
func Propagate(root string) error {
	return os.NewSyscallError("mount", unix.Mount("", root, "", unix.MS_SHARED|unix.MS_REC, ""))
}

// retry is how often a path that does not exist any more is looked for.
const retry = time.Second

// Watch repeats mounts that have vanished, until ctx is done: if a program of the host replaces
// or removes a file, the kernel removes the mounts on it from all mount namespaces, and if it renames a
// file, they go with it. It calls report for each.
func Watch(ctx context.Context, scratch string, shares []Shared, report func(path, text string)) error {
	table, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	defer table.Close()
	wake, stop, err := os.Pipe()
	if err != nil {
		return err
	}
	defer wake.Close()
	defer stop.Close()
	defer context.AfterFunc(ctx, func() { stop.Write([]byte{0}) })()
	changes := newChanges(shares)
	defer changes.close()
	absent := map[string]bool{}
	for ctx.Err() == nil {
		changes.watch()
		points, err := mountPoints(table)
		if err != nil {
			return err
		}
		for _, s := range shares {
			s.repeat(points, scratch, absent, report)
		}
		if err := changes.wait(table, wake, len(absent) > 0); err != nil {
			return err
		}
	}
	return nil
}

// wait waits until mounts may have to be repeated, or wake can be read.
func (c *changes) wait(table, wake *os.File, absent bool) error {
	for deadline := time.Now().Add(retry); ; {
		timeout := -1
		if absent || c.incomplete {
			timeout = max(0, int(time.Until(deadline).Milliseconds()))
		}
		// proc_pid_mountinfo(5): a change of the table is a priority event.
		poll := []unix.PollFd{{Fd: int32(table.Fd()), Events: unix.POLLPRI}, {Fd: int32(wake.Fd()), Events: unix.POLLIN}, {Fd: int32(c.fd), Events: unix.POLLIN}}
		n, err := unix.Poll(poll, timeout)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("poll", err)
		}
		if n <= 0 || poll[0].Revents != 0 || poll[1].Revents != 0 {
			return nil
		}
		if seen, err := c.seen(); seen || err != nil {
			return err
		}
	}
}

// repeat repeats the mounts of a share that are not among points. absent are those that cannot be
// made now, because there is no such path.
func (s Shared) repeat(points map[string]bool, scratch string, absent map[string]bool, report func(path, text string)) {
	for _, m := range s.Mounts {
		path := filepath.Join(s.Root, m.Path)
		if points[path] {
			continue
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err == nil {
			m.Type = st.Mode & unix.S_IFMT // it may have another type now
		}
		err := apply(s.Root, scratch, m)
		text := ""
		switch {
		case err == nil:
			delete(absent, path)
			text = fmt.Sprintf("was replaced on the host and is %s again", m.Mode)
		case !absent[path]:
			absent[path] = true
			text = fmt.Sprintf("is not %s any more: %v", m.Mode, err)
		}
		if text != "" && m.Mode != ReadWrite {
			report(m.Path, text)
		}
	}
}

// mountPoints reads a table of mounts from its start.
func mountPoints(table *os.File) (map[string]bool, error) {
	if _, err := table.Seek(0, 0); err != nil {
		return nil, err
	}
	points := map[string]bool{}
	lines := bufio.NewScanner(table)
	lines.Buffer(nil, 64<<10)
	for lines.Scan() {
		const mountPoint = 4
		if fields := strings.Split(lines.Text(), " "); len(fields) > mountPoint {
			points[unescape(fields[mountPoint])] = true
		}
	}
	return points, lines.Err()
}

// unescape replaces the octal escapes of proc_pid_mountinfo(5).
func unescape(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' && i+3 < len(text) {
			if n, err := strconv.ParseUint(text[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(text[i])
	}
	return b.String()
}
