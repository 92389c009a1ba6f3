package main

import (
	"errors"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// workDir is the work directory, and the current directory of all commands. It is a link to
// where the directory is mounted, or the mount point itself; see workPath.
const workDir = "/work"

// newCommand returns a command that runs argv as a user of the guest, in the work directory
// and in a new session, see setsid(2). host contains the variables from the host. It must be
// called, and the command started, in r.
func newCommand(r *root, userName string, argv []string, host map[string]string) (*exec.Cmd, error) {
	u, err := lookupUser(userName)
	if err != nil {
		return nil, err
	}
	o, err := newOwner(u)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = workDir
	cmd.Env = r.environment(u, readVariables(environmentFile), host)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: credential(o, u)}
	return cmd, nil
}

// knownTerminal returns name if the guest has a terminfo(5) entry for it, and
// xterm-256color otherwise, with which most terminals are compatible.
func knownTerminal(name string) string {
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
	// term is its pseudo-terminal; if nil, the three pipes are set.
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
	resetOOMScore(cmd.Process)
	go func() {
		p.status = exitStatus(cmd.Wait())
		// Descendants may keep the streams open, so interrupt the reads in drain.
		// Once exited is closed, drain sets its own deadlines, so do this first.
		for _, f := range []*os.File{p.term, p.stdout, p.stderr} {
			if f != nil {
				f.SetReadDeadline(time.Now())
			}
		}
		close(p.exited)
	}()
	return p, nil
}

// startPipes does not use cmd.StdoutPipe, because cmd.Wait would close the pipe before
// all output is read.
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

// Limits of drain after the command has exited. Output that arrives later comes from
// background processes of the command and is discarded.
const (
	drainSilence = 300 * time.Millisecond // without output
	drainBytes   = 1 << 20                // in total; more than a pipe holds
	drainWait    = 2 * time.Second        // in total
)

// drain reads the output of the command from f and passes it to sink. It returns at the end
// of the stream or, after the command has exited, at the first of the limits above.
// Background processes can keep the stream open for as long as they run.
func (p *process) drain(f *os.File, sink func([]byte)) {
	buf := make([]byte, 64<<10)
	left, waited := drainBytes, time.Duration(0)
	for left > 0 && waited < drainWait {
		exited := false
		select {
		case <-p.exited:
			exited = true
			f.SetReadDeadline(time.Now().Add(drainSilence))
		default:
		}
		readStart := time.Now()
		n, err := f.Read(buf)
		if exited {
			left -= n
			waited += time.Since(readStart)
		}
		if n > 0 {
			sink(buf[:n])
		}
		if err != nil && (exited || !errors.Is(err, os.ErrDeadlineExceeded)) {
			return // a terminal returns EIO at its end
		}
	}
}

// stop sends SIGHUP, SIGTERM and SIGKILL in turn until the process exits.
func (p *process) stop() {
	for _, sig := range []syscall.Signal{unix.SIGHUP, unix.SIGTERM, unix.SIGKILL} {
		p.signal(sig)
		select {
		case <-p.exited:
			return
		case <-time.After(2 * time.Second):
		}
	}
}

// resetOOMScore removes from a child the protection from the OOM killer that it inherits
// from the agent: when memory runs out, the agent should survive and report to the host.
func resetOOMScore(p *os.Process) {
	file := filepath.Join("/proc", strconv.Itoa(p.Pid), "oom_score_adj")
	if err := os.WriteFile(file, []byte("0"), 0); err != nil {
		log.Print(err)
	}
}

// enableCores undoes what PID 1 does before it runs systemd-sysctl, which the Debian guest skips:
// it passes cores to false(1).
func enableCores() error {
	const pattern = "/proc/sys/kernel/core_pattern"
	text, err := os.ReadFile(pattern)
	if err != nil || string(text) != "|/bin/false\n" {
		return err
	}
	return os.WriteFile(pattern, []byte("core\n"), 0)
}

// signal sends a signal to the process's group and, if different, to the foreground
// process group of its terminal.
func (p *process) signal(sig syscall.Signal) {
	groups := []int{p.cmd.Process.Pid}
	if p.term != nil {
		// p.term.Fd() would set the terminal to blocking mode.
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

// signalByName returns the signal with an SSH signal name (RFC 4254 section 6.10), which
// has no SIG prefix.
func signalByName(name string) (syscall.Signal, error) {
	if n := unix.SignalNum("SIG" + name); n != 0 {
		return n, nil
	}
	return 0, fmt.Errorf("no signal %q", name)
}
