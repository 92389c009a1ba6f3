// The agent is the guest's end of everything the host says: it waits for the
// request that makes an instance out of the booted guest, holds Claude's
// terminal, and serves shells, over the SSH protocol on virtio-serial ports.
//
// There are no keys: whoever can open the host's end of a port is the user who
// owns the VM.
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
	"syscall"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"github.com/t0mpr1c3/claude-microvm/internal/vport"
	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
)

func main() {
	log.SetFlags(0) // journald adds the time
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

// agent is the state of the guest: not begun, or begun with one session.
type agent struct {
	status *os.File
	config *ssh.ServerConfig

	mu        sync.Mutex
	session   *session   // nil until begin
	hostAgent *hostAgent // nil unless it was asked for
	stopping  bool       // the guest powers off for another reason than Claude's end
	beginner  sync.Mutex
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
	failed := make(chan error, contract.SSHPorts)
	for i := range contract.SSHPorts {
		port, err := openPort(contract.SSHPort(i), os.O_RDWR)
		if err != nil {
			return err
		}
		go func() { failed <- vport.Serve(port, a.serve) }()
	}
	a.report("STATUS=Waiting for the host")
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

// stop ends the session because the guest powers off, by the button or by
// somebody's hand. How Claude ends then is not its own doing and not reported.
func (a *agent) stop() {
	a.mu.Lock()
	a.stopping = true
	s := a.session
	a.mu.Unlock()
	a.report("STOPPING=1")
	if s != nil {
		s.process.end()
	}
}

// report writes a line of sd_notify(3)'s form to the host. The host's end is a
// file, so this does not block.
func (a *agent) report(line string) {
	if _, err := fmt.Fprintln(a.status, line); err != nil {
		log.Printf("tell the host %q: %v", line, err)
	}
}

// openPort opens a port by the name that the host gave it. udev's links are not
// needed: the Debian guest has no udev.
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
		// Non-blocking, or the runtime gives the file no poller.
		fd, err := unix.Open(dev, flag|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, &os.PathError{Op: "open", Path: dev, Err: err}
		}
		return os.NewFile(uintptr(fd), name), nil
	}
	return nil, fmt.Errorf("no virtio-serial port is named %s: the host's units are of another version", name)
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
	c.AddHostKey(signer)
	return c, nil
}

// powerOff asks the guest's systemd to shut down.
func powerOff() {
	// What "systemctl poweroff" comes to when it finds no logind to ask.
	cmd := exec.Command("systemctl", "--no-block", "--job-mode=replace-irreversibly", "start", "poweroff.target")
	if out, err := cmd.CombinedOutput(); err != nil {
		log.Printf("power off: %v: %s", err, out)
		unix.Sync()
		if err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF); err != nil {
			log.Print(err)
		}
	}
}

// exitStatus is a shell's view of how a process ended: 128+n for signal n.
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
