// claude-vm-gateway is the network of one VM; see claude-vm-gateway@.service, which starts
// it in the instance's runtime directory. It is a program of its own, because none of what
// claude-vm-ctl links (SSH, a terminal emulator, D-Bus) belongs in a process that the guest talks
// to.
package main

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/t0mpr1c3/claude-microvm/internal/confine"
	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"github.com/t0mpr1c3/claude-microvm/internal/control"
	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/gateway"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/unixsocket"
	"github.com/t0mpr1c3/claude-microvm/internal/vm"
	"golang.org/x/sys/unix"
)

// version is set at build time.
var version = "devel"

const usage = `usage: claude-vm-gateway DIRECTORY
       claude-vm-gateway --check [API [PROXY [CERTIFICATES]]]

claude-vm-gateway@.service runs it; claude-vm-ctl doctor runs --check.
`

func main() {
	switch {
	case len(os.Args) > 1 && os.Args[1] == "--check":
		os.Exit(check(os.Args[2:]))
	case len(os.Args) != 2:
		fmt.Fprint(os.Stderr, usage)
		os.Exit(failure.Usage)
	case os.Args[1] == "--help":
		fmt.Print(usage)
		return
	case os.Args[1] == "--version":
		fmt.Println(version)
		return
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, failure.OneLine(err.Error()))
		daemon.SdNotify(false, "STATUS="+failure.OneLine(err.Error()))
		os.Exit(failure.Failed)
	}
}

// check prints how the API is reached from this machine, or the reason why it is not and, on
// a second line, how to fix that. It is for claude-vm-ctl doctor.
func check(args []string) int {
	args = append(args, "", "", "")
	var certificates []byte
	if args[2] != "" {
		var err error
		if certificates, err = os.ReadFile(args[2]); err != nil {
			fmt.Println(failure.OneLine(err.Error()))
			return failure.Failed
		}
	}
	fact, err := gateway.Check(context.Background(), cmp.Or(args[0], vm.StandardAPI), args[1], certificates)
	if err != nil {
		fmt.Printf("%s\n%s\n", failure.OneLine(err.Error()), failure.HintOf(err))
		return failure.Failed
	}
	fmt.Println(fact)
	return 0
}

// run is the gateway of the VM on a directory until SIGTERM.
func run(dir string) error {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, unix.SIGHUP)

	paths, err := instance.HostPaths()
	if err != nil {
		return err
	}
	id := instance.Escape(dir)
	record, err := paths.ReadRecord(id)
	if err != nil {
		return err
	}
	accepted, err := confine.Check(record.Host, confine.Wanted{Network: true, Insecure: record.Settings.Insecure})
	if err != nil {
		return err
	}
	for _, m := range accepted {
		fmt.Fprintf(os.Stderr, "%v; accepted by Insecure=\n", m)
	}
	if err := confine.OnlyItself(); err != nil {
		return err
	}
	config, err := configuration(paths, id)
	if err != nil {
		return err
	}
	// The step begin looks whether there is a gateway. The lock is held until exit.
	lock, err := unixsocket.OpenLock(".", contract.GatewayLock)
	if err != nil {
		return err
	}
	defer lock.Close()
	// Not LOCK_NB: begin holds the lock for a moment when it looks.
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_SH); err != nil {
		return fmt.Errorf("lock %s: %w", contract.GatewayLock, err)
	}
	controls, restarted, err := control.Listen(config.Directory)
	if err != nil {
		return err
	}
	g, err := gateway.New(config, restarted)
	if err != nil {
		return err
	}
	defer g.Flush()
	go g.ServeControl(controls)
	go g.Serve(ctx, dialQEMU)
	notify("READY=1\nSTATUS=" + g.Summary())
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-reload:
		}
		// notify-reload in systemd.service(5).
		var now unix.Timespec
		unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
		notify(fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", now.Nano()/1000))
		config, err := configuration(paths, id)
		if err == nil {
			err = g.Reload(config)
		}
		if err != nil { // go on as before
			fmt.Fprintln(os.Stderr, "reload:", failure.OneLine(err.Error()))
		}
		notify("READY=1\nSTATUS=" + g.Summary())
	}
}

// configuration reads what setup has written.
func configuration(paths instance.Paths, id string) (gateway.Config, error) {
	record, err := paths.ReadRecord(id)
	if err != nil {
		return gateway.Config{}, err
	}
	secrets, err := paths.ReadSecrets(id)
	if err != nil {
		return gateway.Config{}, err
	}
	return gateway.Config{
		Settings: record.Settings, Secrets: secrets.Inject, Commands: len(secrets.Commands) > 0, API: secrets.API,
		Proxy: secrets.Proxy, ExtraCA: secrets.ExtraCA, Directory: paths.GatewayDirectory(id),
	}, nil
}

// dialQEMU connects to QEMU's socket in the current directory.
func dialQEMU(ctx context.Context) (net.Conn, error) {
	return unixsocket.Dial(ctx, ".", contract.NetSocket)
}

func notify(text string) {
	if _, err := daemon.SdNotify(false, text); err != nil {
		fmt.Fprintln(os.Stderr, "notify the user manager:", err)
	}
}
