package main

import (
	"encoding/json"
	"fmt"
	"log"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"github.com/t0mpr1c3/claude-microvm/internal/inotify"
	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
)

// serveChanges reads changes of files that the host reports. A program that watches such a file gets
// IN_MODIFY from the kernel when its time of modification is set to what it is already.
func (a *agent) serveChanges(ch ssh.Channel) {
	defer ch.Close()
	s := a.current()
	var n *notifier
	err := s.root.do(func() (err error) { // in the mount namespace of an image, if there is one
		n, err = newNotifier(workDir)
		return err
	})
	if err != nil {
		log.Printf("changes of the host: %v", err)
		return
	}
	defer n.close()
	requests, replies := json.NewDecoder(ch), json.NewEncoder(ch)
	for {
		var c contract.Changes
		if requests.Decode(&c) != nil {
			return
		}
		if replies.Encode(contract.ChangesReply{Watched: n.notify(c.Changes, readMarks())}) != nil {
			return
		}
	}
}

// notifier tells programs of changes below a directory.
type notifier struct {
	root int // the directory
	// own is an inotify queue. It watches the directories in which programs have been told of changes,
	// because the host also reports what the guest has changed, which programs know already.
	own  int
	dirs map[int]string // by watch descriptor of own
}

// ownEvents are those of changes that the host reports.
const ownEvents = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MODIFY | unix.IN_MOVED_FROM | unix.IN_MOVED_TO

func newNotifier(dir string) (*notifier, error) {
	root, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	return &notifier{root: root, own: -1}, nil
}

func (n *notifier) close() {
	n.forget()
	unix.Close(n.root)
}

// notify returns whether a program watches files of the same file system.
func (n *notifier) notify(changes []contract.Change, marks marks) (watched bool) {
	var st unix.Stat_t
	if unix.Fstat(n.root, &st) != nil || !marks.has(st.Dev) {
		n.forget()
		return false
	}
	changed := n.drain()
	changes = slices.DeleteFunc(changes, func(c contract.Change) bool {
		p := path.Clean(string(c.Path))
		return changed[p] || n.touch(p, c.Modified, marks)
	})
	if len(changes) > 0 {
		time.Sleep(nameTimeout)
		for _, c := range changes {
			n.touch(path.Clean(string(c.Path)), c.Modified, marks)
		}
	}
	n.drain() // what touch has caused
	return true
}

// nameTimeout is longer than the kernel takes a name that it has looked up for the same file: one second with
// virtiofsd's --cache=auto. When the host has replaced the file, it is found afterwards.
const nameTimeout = 1100 * time.Millisecond

// touch sets the time of modification of a file to what it is, if a program watches the file or its
// directory, and closes it for writing, if the program watches for that. It returns false if the time
// is not the one that the host has reported.
func (n *notifier) touch(p string, modified int64, marks marks) bool {
	dir, base := path.Split(p)
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS}
	fd, err := unix.Openat2(n.root, path.Clean(dir), &how)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	events := marks.of(fd, "") | marks.of(fd, base)
	if events == 0 {
		return true
	}
	n.watch(fd, path.Clean(dir))
	var st unix.Statx_t
	err = unix.Statx(fd, base, unix.AT_STATX_FORCE_SYNC|unix.AT_SYMLINK_NOFOLLOW, unix.STATX_MTIME|unix.STATX_TYPE|unix.STATX_MODE, &st)
	at := unix.Timespec{Sec: st.Mtime.Sec, Nsec: int64(st.Mtime.Nsec)}
	if err != nil || at.Nano() != modified {
		return false
	}
	// A change of the host at this moment would get the older time, too: there is no call that sets a time only
	// if it is unchanged.
	unix.UtimesNanoAt(fd, base, []unix.Timespec{{Nsec: unix.UTIME_OMIT}, at}, unix.AT_SYMLINK_NOFOLLOW)
	if events&unix.IN_CLOSE_WRITE != 0 {
		closeWrite(fd, base, st.Mode)
	}
	return true
}

// closeWrite opens a file for writing and closes it, for programs that wait for IN_CLOSE_WRITE instead of
// IN_MODIFY, such as entr and bacon. Not one that the host may execute: that fails while it is open for writing.
func closeWrite(dir int, base string, mode uint16) {
	const executable = unix.S_IXUSR | unix.S_IXGRP | unix.S_IXOTH
	if mode&unix.S_IFMT != unix.S_IFREG || mode&executable != 0 {
		return
	}
	fd, err := unix.Openat(dir, base, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err == nil {
		unix.Close(fd)
	}
}

// watch watches an open directory with the queue own.
func (n *notifier) watch(fd int, dir string) {
	if n.own < 0 {
		own, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
		if err != nil {
			return // programs are told twice of the guest's changes
		}
		n.own, n.dirs = own, map[int]string{}
	}
	if id, err := unix.InotifyAddWatch(n.own, fmt.Sprintf("/proc/self/fd/%d", fd), ownEvents); err == nil {
		n.dirs[id] = dir
	}
}

// drain returns the paths that the guest has changed since the last call.
func (n *notifier) drain() map[string]bool {
	changed := map[string]bool{}
	buf := make([]byte, 16<<10)
	for n.own >= 0 {
		got, err := unix.Read(n.own, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			break
		}
		for e := range inotify.Events(buf[:got]) {
			if e.Mask&unix.IN_Q_OVERFLOW != 0 {
				n.forget()
				break
			}
			dir := n.dirs[e.Watch]
			changed[path.Join(dir, e.Name)] = true
			if e.Mask&(unix.IN_DELETE|unix.IN_MOVED_FROM) != 0 {
				changed[dir] = true // which is what the host reports
			}
		}
	}
	return changed
}

func (n *notifier) forget() {
	if n.own >= 0 {
		unix.Close(n.own)
		n.own = -1
	}
}

// marks are the events that programs watch for, by file, as in the lines "inotify" of proc_pid_fdinfo(5): the
// device and the file handle. The inode numbers there are not those of stat(2) for a file of virtiofs.
type marks map[string]uint32

// readMarks reads what all processes but this one watch.
func readMarks() marks {
	m := marks{}
	queues, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	self := fmt.Sprintf("/proc/%d/", os.Getpid())
	for _, fd := range queues {
		if strings.HasPrefix(fd, self) {
			continue
		}
		if target, err := os.Readlink(fd); err != nil || target != "anon_inode:inotify" {
			continue
		}
		text, _ := os.ReadFile(strings.Replace(fd, "/fd/", "/fdinfo/", 1))
		for line := range strings.Lines(string(text)) {
			m.add(line)
		}
	}
	return m
}

// add adds a line such as
// "inotify wd:1 ino:2 sdev:2c mask:806 ignored_mask:0 fhandle-bytes:c fhandle-type:81 f_handle:0000000002000000".
func (m marks) add(line string) {
	values := map[string]string{}
	for _, field := range strings.Fields(line) {
		name, value, _ := strings.Cut(field, ":")
		values[name] = value
	}
	device, err := strconv.ParseUint(values["sdev"], 16, 32)
	events, maskErr := strconv.ParseUint(values["mask"], 16, 32)
	if err != nil || maskErr != nil || values["f_handle"] == "" {
		return
	}
	// The kernel's own encoding of a device number, see linux/kdev_t.h.
	const minorBits = 20
	dev := unix.Mkdev(uint32(device>>minorBits), uint32(device&(1<<minorBits-1)))
	m[deviceMark(dev)] |= uint32(events)
	m[fileMark(dev, values["f_handle"])] |= uint32(events)
}

func deviceMark(dev uint64) string              { return strconv.FormatUint(dev, 16) }
func fileMark(dev uint64, handle string) string { return deviceMark(dev) + " " + handle }

func (m marks) has(dev uint64) bool { return m[deviceMark(dev)] != 0 }

// of returns the events for which a file in an open directory is watched, or the directory itself if
// name is empty.
func (m marks) of(dir int, name string) (events uint32) {
	flags := 0
	if name == "" {
		flags = unix.AT_EMPTY_PATH
	}
	var st unix.Stat_t
	if unix.Fstatat(dir, name, &st, flags|unix.AT_SYMLINK_NOFOLLOW) != nil {
		return 0
	}
	handle, _, err := unix.NameToHandleAt(dir, name, flags)
	if err != nil {
		return 0
	}
	return m[fileMark(st.Dev, fmt.Sprintf("%x", handle.Bytes()))]
}
