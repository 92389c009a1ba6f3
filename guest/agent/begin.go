package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"time"
	"unsafe"

	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
)

// serveBegin answers one begin request.
func (a *agent) serveBegin(ch ssh.Channel) {
	defer ch.Close()
	var answer contract.BeginReply
	var b contract.Begin
	err := json.NewDecoder(ch).Decode(&b)
	if err == nil {
		err = a.begin(b)
	}
	if err != nil {
		answer.Error = err.Error()
		log.Printf("begin: %v", err)
	}
	if err := json.NewEncoder(ch).Encode(answer); err != nil {
		log.Printf("answer to begin: %v", err)
	}
}

// begin makes this guest the instance that b describes and starts Claude.
func (a *agent) begin(b contract.Begin) error {
	a.beginMu.Lock()
	defer a.beginMu.Unlock()
	if a.current() != nil {
		return errors.New("this guest is already in use")
	}
	if b.Version != contract.Version {
		return fmt.Errorf("the guest bundle has version %d of the contract, the host has version %d: rebuild the guest", contract.Version, b.Version)
	}
	if err := addEntropy(b.Entropy); err != nil {
		return err
	}
	if err := setClock(b.Time); err != nil {
		return err
	}
	if err := setIdentity(b.MachineID, b.Hostname); err != nil {
		return err
	}
	var r *root
	if b.Image != nil {
		a.report("STATUS=Mounting the image")
		var err error
		if r, err = mountImage(*b.Image); err != nil {
			return err
		}
	}
	a.report("STATUS=Mounting the work directory")
	if err := r.do(func() error { return furnish(r, b) }); err != nil {
		return err
	}
	for file, text := range map[string]string{gitConfigFile: b.GitConfig, contract.GitIgnoreFile: b.GitIgnore} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			return err
		}
	}
	if b.ForwardAgent {
		h, err := newHostAgent(r)
		if err != nil {
			return err
		}
		a.hostAgent = h // set before a.session: clients that see a session may use it
		if b.Environment == nil {
			b.Environment = map[string]string{}
		}
		b.Environment["SSH_AUTH_SOCK"] = hostAgentSocket
	}
	a.report("STATUS=Starting Claude Code")
	s, err := startSession(r, b.Session, b.Settings)
	if err != nil {
		return err
	}
	a.mu.Lock()
	a.session = s
	a.mu.Unlock()
	go keepClock()
	go a.useScratch(r)
	go limitInodes(b.Files, a.reportDrops)
	s.waitStarted()
	a.report("STATUS=Claude Code is running")
	a.report("READY=1")
	go a.finish(s)
	return nil
}

// furnish prepares the root directory r, in which it runs, for b.
func furnish(r *root, b contract.Begin) error {
	if err := setTimeZone(b.TimeZone); err != nil {
		log.Print(err) // not worth failing: times are in UTC then
	}
	keepLocales(b.Environment)
	if err := mountShare(r, b); err != nil {
		return err
	}
	return keepWorktrees(r, b.GitDirectories)
}

// reportDrops reports how often the caches were dropped: to the host at each power of two,
// because the host limits the size of the file with the reports.
func (a *agent) reportDrops(n int) {
	if n&(n-1) == 0 {
		log.Printf("dropped the caches, because the guest has too many files of the share open (%d times)", n)
		a.report(fmt.Sprintf("CACHE_DROPS=%d", n))
	}
}

// finish waits until the session has exited and powers the guest off. It reports the
// exit status first, so that the host has it even if something fails afterwards.
func (a *agent) finish(s *session) {
	status := s.wait()
	a.mu.Lock()
	stopping := a.stopping
	a.mu.Unlock()
	if stopping {
		return
	}
	a.report(fmt.Sprintf("STATUS=Claude Code exited with status %d", status))
	a.report(fmt.Sprintf("EXIT_STATUS=%d", status))
	log.Printf("Claude Code exited with status %d", status)
	s.flush()
	if status != 0 {
		s.logScreen()
	}
	powerOff()
}

// current returns the session, or nil before begin.
func (a *agent) current() *session {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.session
}

// setClock sets the guest's real-time clock.
func setClock(to time.Time) error {
	t, err := unix.TimeToTimespec(to)
	if err != nil {
		return fmt.Errorf("time %v: %w", to, err)
	}
	return os.NewSyscallError("clock_settime", unix.ClockSettime(unix.CLOCK_REALTIME, &t))
}

// setIdentity sets the machine ID and the host name. The host name is resolved to a
// loopback address.
func setIdentity(machineID, hostname string) error {
	if err := os.WriteFile("/etc/machine-id", []byte(machineID+"\n"), 0o444); err != nil {
		return err
	}
	if err := unix.Sethostname([]byte(hostname)); err != nil {
		return os.NewSyscallError("sethostname", err)
	}
	if err := os.WriteFile("/etc/hostname", []byte(hostname+"\n"), 0o644); err != nil {
		return err
	}
	hosts, err := os.OpenFile("/etc/hosts", os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer hosts.Close()
	_, err = io.WriteString(hosts, "127.0.1.1 "+hostname+"\n")
	return err
}

// addEntropy adds random bytes from the host to the kernel's pool and reseeds its random
// number generator. Otherwise all guests resumed from the same memory image would
// generate the same numbers.
func addEntropy(entropy []byte) error {
	f, err := os.OpenFile("/dev/urandom", os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	// struct rand_pool_info of linux/random.h: bits, bytes, data.
	info := binary.NativeEndian.AppendUint32(nil, uint32(8*len(entropy)))
	info = binary.NativeEndian.AppendUint32(info, uint32(len(entropy)))
	info = append(info, entropy...)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), unix.RNDADDENTROPY, uintptr(unsafe.Pointer(&info[0])))
	if errno != 0 {
		return os.NewSyscallError("RNDADDENTROPY", errno)
	}
	return os.NewSyscallError("RNDRESEEDCRNG", unix.IoctlSetInt(int(f.Fd()), unix.RNDRESEEDCRNG, 0))
}
