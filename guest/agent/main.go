// The agent runs in the guest and serves the host over the SSH protocol on virtio-serial
// ports. It waits for the begin request that turns the booted guest into an instance,
// keeps Claude's terminal, and runs shells and commands.
//
// Clients are not authenticated: only the user who owns the VM can open the host's end
// of a port.
package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"github.com/t0mpr1c3/claude-microvm/internal/vport"
	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
)

func main() {
	log.SetFlags(0) // journald adds the time
	if name := filepath.Base(os.Args[0]); name != programName {
		log.Fatal(runTool(name))
	}
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

// agent is the state of the guest: waiting for begin, or running one session.
type agent struct {
	status *os.File
	config *ssh.ServerConfig

	mu        sync.Mutex
	session   *session   // nil until begin
	hostAgent *hostAgent // nil unless begin requested it
	stopping  bool       // the guest is powering off although Claude has not exited
	beginMu   sync.Mutex // held during begin

	scratch atomic.Pointer[os.File] // scratchDir, once it is mounted
}

func run() error {
	config, err := serverConfig()
	if err != nil {
		return err
	}
	a := &agent{config: config}
	if a.status, err = openPort(contract.StatusPort, os.O_WRONLY); err != nil {
		return err
	}
	if err := configureNetwork(); err != nil {
		log.Print(err)
	}
	if err := enableCores(); err != nil {
		log.Print(err)
	}
	a.report("STATUS=Waiting for the host")
	failed := make(chan error, contract.SSHPorts)
	for i := range contract.SSHPorts {
		port, err := openPort(contract.SSHPort(i), os.O_RDWR)
		if err != nil {
			return err
		}
		go func() { failed <- vport.Serve(port, a.serve) }()
	}
	if _, err := daemon.SdNotify(false, daemon.SdNotifyReady); err != nil {
		return err
	}
	go watchPowerButton()

	terminate := make(chan os.Signal, 1)
	signal.Notify(terminate, unix.SIGTERM)
	select {
	case err := <-failed:
		return err
	case <-terminate:
		a.stop()
		return nil
	}
}

// stop stops the session because the guest is powered off, by the power button or from
// inside. Claude's exit status is not reported then, as Claude did not exit by itself.
func (a *agent) stop() {
	a.mu.Lock()
	a.stopping = true
	s := a.session
	a.mu.Unlock()
	a.report("STOPPING=1")
	if s != nil {
		s.process.stop()
	}
	if dir := a.scratch.Load(); dir != nil {
		if err := discardScratch(dir); err != nil {
			log.Printf("%s: %v", scratchDir, err)
		}
	}
	syncJournal()
}

// report sends a line in the format of sd_notify(3) to the host. The host's end is a
// file, so this does not block.
func (a *agent) report(line string) {
	if _, err := fmt.Fprintln(a.status, line); err != nil {
		log.Printf("report %q to the host: %v", line, err)
	}
}

// openPort opens the virtio-serial port with this name, which the host's unit defines. It
// does not use the links in /dev/virtio-ports, because the Debian guest has no udev.
func openPort(name string, flag int) (*os.File, error) {
	names, err := filepath.Glob("/sys/class/virtio-ports/*/name")
	if err != nil {
		return nil, err
	}
	for _, file := range names {
		text, err := os.ReadFile(file)
		if err != nil || strings.TrimSpace(string(text)) != name {
			continue
		}
		dev := filepath.Join("/dev", filepath.Base(filepath.Dir(file)))
		// os.NewFile supports deadlines only if the descriptor is in non-blocking mode.
		fd, err := unix.Open(dev, flag|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, &os.PathError{Op: "open", Path: dev, Err: err}
		}
		return os.NewFile(uintptr(fd), name), nil
	}
	return nil, fmt.Errorf("no virtio-serial port named %s: install units and guest of the same version of claude-vm", name)
}

func serverConfig() (*ssh.ServerConfig, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		return nil, err
	}
	c := &ssh.ServerConfig{NoClientAuth: true}
	// The default is a hybrid with ML-KEM, which takes longer, and the transport is a local socket.
	c.KeyExchanges = []string{ssh.KeyExchangeCurve25519}
	c.AddHostKey(signer)
	return c, nil
}

// powerOff asks the guest's systemd to shut down.
func powerOff() {
	// SIGRTMIN+4 is the same as "systemctl poweroff" without systemd-logind, see systemd(1). The C
	// library reserves the first two real-time signals.
	const signal = unix.Signal(34 + 4)
	if err := unix.Kill(1, signal); err != nil {
		log.Printf("power off: %v", err)
		unix.Sync()
		if err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF); err != nil {
			log.Print(err)
		}
	}
}

// exitStatus returns the exit status for an error of cmd.Wait, as a shell reports it:
// 128+n for signal n. It returns 127 if the error is not about the status.
func exitStatus(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		if w, ok := exit.Sys().(syscall.WaitStatus); ok && w.Signaled() {
			return 128 + int(w.Signal())
		}
		return exit.ExitCode()
	}
	return 127
}
