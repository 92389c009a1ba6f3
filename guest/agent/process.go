package main

import (
	"errors"
	"fmt"
	"log"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// workDir is where the work directory is mounted and where everything starts.
const workDir = "/work"

// command prepares argv as a user of the guest, in the work directory, as the
// leader of a session of its own.
func command(userName string, argv []string, extra map[string]string) (*exec.Cmd, error) {
	u, err := user.Lookup(userName)
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = workDir
	cmd.Env = environment(u, readVariables(environmentFile), extra)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setsid:     true,
		Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)},
	}
	return cmd, nil
}

// describedTerminal gives a terminal's name, or, when the guest has no description
// of it as terminfo(5), that of the one which most others are like.
func describedTerminal(name string) string {
	for _, dir := range []string{"/etc/terminfo", "/lib/terminfo", "/usr/share/terminfo", "/run/current-system/sw/share/terminfo"} {
		if name == "" || strings.Contains(name, "/") {
			break
		}
		if _, err := os.Stat(filepath.Join(dir, name[:1], name)); err == nil {
			return name
		}
	}
	return "xterm-256color"
}

// process is a running command and the agent's ends of its streams.
type process struct {
	cmd *exec.Cmd
	// term is its pseudo-terminal; without one, the three pipes are set.
	term                  *os.File
	stdin, stdout, stderr *os.File

	exited chan struct{} // closed once status is known
	status int
}

// start starts cmd on a pseudo-terminal of the given size, or on three pipes.
func start(cmd *exec.Cmd, size *pty.Winsize) (*process, error) {
	p := &process{cmd: cmd, exited: make(chan struct{})}
	var err error
	if size != nil {
		cmd.SysProcAttr.Setctty = true
		p.term, err = pty.StartWithAttrs(cmd, size, cmd.SysProcAttr)
	} else {
		err = p.startPipes()
	}
	if err != nil {
		return nil, err
	}
	expendable(cmd.Process)
	go func() {
		p.status = exitStatus(cmd.Wait())
		// Descendants may keep the streams open. Wake the copies, which then
		// take what is there and no more. They set deadlines of their own as
		// soon as exited is closed, so this comes first.
		for _, f := range []*os.File{p.term, p.stdout, p.stderr} {
			if f != nil {
				f.SetReadDeadline(time.Now())
			}
		}
		close(p.exited)
	}()
	return p, nil
}

// startPipes does not use cmd.StdoutPipe: its Wait closes it under the reader.
func (p *process) startPipes() error {
	in, inW, err := os.Pipe()
	if err != nil {
		return err
	}
	outR, out, err := os.Pipe()
	if err != nil {
		return err
	}
	errR, errW, err := os.Pipe()
	if err != nil {
		return err
	}
	p.stdin, p.stdout, p.stderr = inW, outR, errR
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = in, out, errW
	err = p.cmd.Start()
	in.Close()
	out.Close()
	errW.Close()
	return err
}

// After a command has exited, its last output is what comes without a pause as
// long as lastOutput, is no more than maxLastOutput bytes, which no pipe holds,
// and is waited for no longer than maxLastWait altogether. The rest belongs to
// processes that it left behind.
const (
	lastOutput    = 300 * time.Millisecond
	maxLastOutput = 1 << 20
	maxLastWait   = 2 * time.Second
)

// drain gives sink all that the command writes to f. It returns when the
// stream ends, or when the command has exited and has no more to say.
func (p *process) drain(f *os.File, sink func([]byte)) {
	buf := make([]byte, 64<<10)
	left, waited := maxLastOutput, time.Duration(0)
	for left > 0 && waited < maxLastWait {
		over := false
		select {
		case <-p.exited:
			over = true
			f.SetReadDeadline(time.Now().Add(lastOutput))
		default:
		}
		began := time.Now()
		n, err := f.Read(buf)
		if over {
			left -= n
			waited += time.Since(began)
		}
		if n > 0 {
			sink(buf[:n])
		}
		if err != nil && (over || !errors.Is(err, os.ErrDeadlineExceeded)) {
			return // a terminal's end is EIO
		}
	}
}

// end makes the process go: politely, then not.
func (p *process) end() {
	for _, sig := range []syscall.Signal{unix.SIGHUP, unix.SIGTERM, unix.SIGKILL} {
		p.signal(sig)
		select {
		case <-p.exited:
			return
		case <-time.After(2 * time.Second):
		}
	}
}

// expendable undoes the agent's own protection from the OOM killer for a child:
// when memory runs out, the one to go is never the one who tells the host.
func expendable(p *os.Process) {
	file := filepath.Join("/proc", strconv.Itoa(p.Pid), "oom_score_adj")
	if err := os.WriteFile(file, []byte("0"), 0); err != nil {
		log.Print(err)
	}
}

// signal sends a signal to the process's group and, if that is another one, to
// the group in its terminal's foreground.
func (p *process) signal(sig syscall.Signal) {
	groups := []int{p.cmd.Process.Pid}
	if p.term != nil {
		// Not p.term.Fd(), which would make the terminal blocking.
		if raw, err := p.term.SyscallConn(); err == nil {
			raw.Control(func(fd uintptr) {
				if n, err := unix.IoctlGetInt(int(fd), unix.TIOCGPGRP); err == nil && n > 0 && n != groups[0] {
					groups = append(groups, n)
				}
			})
		}
	}
	for _, group := range groups {
		if err := unix.Kill(-group, sig); err != nil && err != unix.ESRCH {
			log.Printf("signal %v: %v", sig, err)
		}
	}
}

// signalByName is the inverse of SSH's signal names, RFC 4254 section 6.10.
func signalByName(name string) (syscall.Signal, error) {
	if n := unix.SignalNum("SIG" + name); n != 0 {
		return n, nil
	}
	return 0, fmt.Errorf("no signal %q", name)
}
