package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/t0mpr1c3/claude-microvm/internal/contract"
	"github.com/t0mpr1c3/claude-microvm/internal/control"
	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/instance"
	"github.com/t0mpr1c3/claude-microvm/internal/manager"
	"github.com/t0mpr1c3/claude-microvm/internal/policy"
	"github.com/t0mpr1c3/claude-microvm/internal/vm"
	"github.com/t0mpr1c3/claude-microvm/internal/vmfile"
)

type forwardVerb struct {
	words  []string
	detach bool
}

func (f *forwardVerb) register(app *kingpin.Application) string {
	cmd := app.Command("forward", "Forward ports of this machine, [ADDRESS:]PORT[:GUESTPORT], to a running VM until Ctrl-C.")
	describe(cmd, "", "forward 8080", "forward --detach ~/src/web 127.0.0.2:80:8080 5432")
	cmd.Arg("dir", "The project's directory, its id or its .vm file's name; then ports.").HintAction(instanceHints).StringsVar(&f.words)
	cmd.Flag("detach", "Forward in the background, until the VM stops.").Short('d').BoolVar(&f.detach)
	return cmd.FullCommand()
}

// isPort matches an argument that is a port. To pass a directory with such a name, add a
// slash: ./80.
var isPort = regexp.MustCompile(`^(\[[0-9a-f:]*\])?[0-9.:]*[0-9][0-9.:]*(/[a-z]*)?$`)

// split separates the instance, which may come first, from the ports.
func (f *forwardVerb) split() (dir string, ports []vm.Port, err error) {
	dir, words := ".", f.words
	if len(words) > 0 && !isPort.MatchString(words[0]) {
		dir, words = words[0], words[1:]
	}
	if len(words) == 0 {
		return "", nil, usage(errors.New("forward needs a port"))
	}
	for _, word := range words {
		p, err := vmfile.ParsePort(word)
		if err != nil {
			return "", nil, usage(err)
		}
		ports = append(ports, p)
	}
	return dir, ports, nil
}

func (f *forwardVerb) run(ctx context.Context, out *output) (int, error) {
	dir, ports, err := f.split()
	if err != nil {
		return 0, err
	}
	v, u, err := open(ctx, dir)
	if err != nil {
		return 0, err
	}
	defer v.manager.Close()
	if !u.Running() {
		return 0, v.noInstance("claude-vm-ctl start" + v.hintArg())
	}
	r, err := v.paths.ReadRecord(v.id)
	if err != nil {
		return 0, err
	}
	switch hasGateway := r.Settings.Network != policy.None; {
	case hasGateway && f.detach:
		return 0, v.publish(ctx, out, ports)
	case hasGateway:
		return 0, v.hold(ctx, out, ports)
	case slices.ContainsFunc(ports, func(p vm.Port) bool { return p.Protocol == policy.UDP }):
		return 0, failure.New(failure.Failed, "claude-vm-ctl edit"+v.hintArg(), "only TCP ports can be forwarded to a VM that has no network (Mode=none)")
	case f.detach:
		return 0, v.forwardDetached(ctx, out, ports)
	}
	return 0, v.forward(ctx, out, ports)
}

// noteForward reports that a port is forwarded.
func (v *target) noteForward(out *output, p vm.Port, more string) {
	out.note("forwarding %s:%d to port %d of the VM on %s%s", p.Address, p.Host, p.Guest, v.dir, more)
}

// publish makes the gateway forward the ports until the VM stops.
func (v *target) publish(ctx context.Context, out *output, ports []vm.Port) error {
	if _, err := v.network(ctx, &control.Change{Publish: words(ports)}); err != nil {
		return err
	}
	for _, p := range ports {
		v.noteForward(out, p, "; to stop: claude-vm-ctl network"+v.hintArg()+" unpublish "+p.String())
	}
	return nil
}

// hold makes the gateway forward the ports until ctx is done or the VM stops. A gateway that
// is restarted gets the request again.
func (v *target) hold(ctx context.Context, out *output, ports []vm.Port) error {
	var once sync.Once
	ready := func() {
		once.Do(func() {
			for _, p := range ports {
				v.noteForward(out, p, "")
			}
		})
	}
	for {
		err := control.Hold(ctx, v.paths.GatewayDirectory(v.id), words(ports), ready)
		if ctx.Err() != nil {
			return nil
		}
		var rejected *failure.Error
		if errors.As(err, &rejected) {
			return err
		}
		u, err := v.manager.Unit(ctx, v.unit())
		if err != nil {
			return err
		}
		if !u.Running() {
			return v.lost(ctx)
		}
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond): // RestartSec= of the gateway
		}
	}
}

// words returns ports in the format of PublishPort=.
func words(ports []vm.Port) []string {
	list := make([]string, len(ports))
	for i, p := range ports {
		list[i] = p.String()
	}
	return list
}

// forward forwards the ports into the VM over SSH until the connection is lost or ctx is done.
func (v *target) forward(ctx context.Context, out *output, ports []vm.Port) error {
	listeners, err := listen(ports)
	if err != nil {
		return err
	}
	defer closeAll(listeners)
	client, err := v.dial(ctx, contract.UserClaude)
	if err != nil {
		return err
	}
	defer client.Close()
	for i, p := range ports {
		refused := func(err error) { out.note("port %d of the VM: %v", p.Guest, err) }
		go client.Forward(listeners[i], p.Guest, refused)
		v.noteForward(out, p, "")
	}
	daemon.SdNotify(false, "READY=1") // for the unit of forwardDetached
	gone := make(chan error, 1)
	go func() { gone <- client.Wait() }()
	select {
	case <-gone:
		return v.lost(ctx)
	case <-ctx.Done():
		return nil
	}
}

func listen(ports []vm.Port) ([]net.Listener, error) {
	var listeners []net.Listener
	for _, p := range ports {
		l, err := net.Listen("tcp", net.JoinHostPort(p.Address, strconv.Itoa(p.Host)))
		if err != nil {
			closeAll(listeners)
			return nil, failure.New(failure.Failed, control.ListenHint(err, p), "%w", err)
		}
		listeners = append(listeners, l)
	}
	return listeners, nil
}

func closeAll(listeners []net.Listener) {
	for _, l := range listeners {
		l.Close()
	}
}

// forwardDetached starts a transient unit that forwards the ports.
func (v *target) forwardDetached(ctx context.Context, out *output, ports []vm.Port) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	command, names := []string{self, "forward", v.id}, []string{}
	for _, p := range ports {
		command = append(command, fmt.Sprintf("%s:%d:%d", p.Address, p.Host, p.Guest))
		names = append(names, port(p).String())
	}
	unit := instance.PortUnit(v.id, ports[0].Host)
	exists := failure.New(failure.Failed, "systemctl --user stop "+failure.Command(unit), "port %d is already forwarded to this VM by %s", ports[0].Host, unit)
	if u, err := v.manager.Unit(ctx, unit); err != nil || u.Running() {
		return cmp.Or(err, exists)
	}
	// Report an error here; the unit's would be in the journal only.
	listeners, err := listen(ports)
	if err != nil {
		return err
	}
	closeAll(listeners)
	result, err := v.manager.StartTransient(ctx, manager.Transient{
		Name:        unit,
		Description: fmt.Sprintf("Ports %s of the Claude VM on %s", strings.Join(names, " "), v.dir),
		Command:     command,
		BindsTo:     v.unit(),
		Slice:       instance.Slice,
		Success:     failure.Lost, // the VM has stopped
	})
	switch {
	case errors.Is(err, manager.ErrExists):
		return exists
	case err != nil:
		return err
	case result != "done":
		return failure.New(failure.Failed, "journalctl --user -n 20 -u "+failure.Command(unit), "%s did not start: result %s", unit, result)
	}
	out.note("forwarding port %s to the VM on %s; to stop: systemctl --user stop %s", strings.Join(names, " "), v.dir, failure.Command(unit))
	return nil
}
