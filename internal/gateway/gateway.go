// Package gateway is the only way out of a VM: it decides to which names and addresses the
// guest may connect, publishes ports, and adds secrets to requests that the guest does not have.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/t0mpr1c3/claude-microvm/internal/control"
	"github.com/t0mpr1c3/claude-microvm/internal/netstack"
	"github.com/t0mpr1c3/claude-microvm/internal/policy"
	"github.com/t0mpr1c3/claude-microvm/internal/vm"
	"golang.org/x/net/netutil"
)

// Config is what a gateway needs to know.
type Config struct {
	Settings vm.VM
	// Secrets are the values of the credentials that the gateway adds to requests.
	Secrets map[string]string
	// Commands reports whether some of them come from commands, which can be run again.
	Commands bool
	// API is the URL to which requests of Claude Code go.
	API string
	// Proxy is the URL of the HTTP proxy; empty for the one in the environment.
	Proxy string
	// ExtraCA are certificates in PEM format.
	ExtraCA []byte
	// Directory is where the gateway keeps its files, for itself alone.
	Directory string
}

const (
	// maxConnections is the number of TCP connections and UDP flows at the same time. With
	// their buffers, they fit into MemoryMax= of the unit.
	maxConnections = 256
	// maxRequests is the number of connections to gateway.internal.
	maxRequests = 128
)

// Gateway is the gateway of one VM.
type Gateway struct {
	stack *netstack.Stack
	names *names
	audit *audit
	// directory has the files of the gateway.
	directory string
	slots     chan struct{} // one for each connection
	// force is what is in force. It is replaced while mu is held.
	force atomic.Pointer[force]

	mu    sync.Mutex
	live  live                  // changes of the running VM
	ports map[vm.Port]io.Closer // that are open
	held  map[vm.Port]bool      // for as long as a client of the control socket is connected
	// failures are why ports of the settings could not be opened again after a restart.
	failures map[vm.Port]error
	flows    map[*flow]bool
	asks     []control.Asked
	// refused is when a server last refused a secret.
	refused time.Time
}

// force is what decides about connections. It is not changed, only replaced.
type force struct {
	settings vm.VM // of the run
	policy   *policy.Policy
	outside  *outside
	inject   *inject
}

// flow is an open connection of the guest.
type flow struct {
	request policy.Request
	since   time.Time
	close   func()
}

// New returns a gateway with its ports open. restarted means that the VM is already running: a
// port that cannot be opened again is then reported but no error.
func New(c Config, restarted bool) (*Gateway, error) {
	g := &Gateway{
		audit: newAudit(), directory: c.Directory, slots: make(chan struct{}, maxConnections),
		ports: map[vm.Port]io.Closer{}, held: map[vm.Port]bool{}, failures: map[vm.Port]error{}, flows: map[*flow]bool{},
	}
	var err error
	if g.names, err = openNames(filepath.Join(c.Directory, "names")); err != nil {
		return nil, err
	}
	if g.stack, err = netstack.New(netstack.Handlers{TCP: g.serveTCP, UDP: g.openUDP}); err != nil {
		return nil, err
	}
	if err := g.readLive(); err != nil {
		return nil, err
	}
	f, err := g.newForce(c)
	if err != nil {
		return nil, err
	}
	g.force.Store(f)
	for p := range g.live.ports(c.Settings) {
		err := g.publish(p)
		if err != nil && !restarted {
			return nil, err
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			g.failures[p] = err
		}
	}
	return g, g.listen()
}

// newForce returns what is in force with a configuration and the changes of the running VM.
func (g *Gateway) newForce(c Config) (*force, error) {
	f := &force{settings: c.Settings}
	var err error
	if f.policy, err = g.live.policy(c.Settings); err != nil {
		return nil, err
	}
	if f.outside, err = newOutside(c.Proxy, c.ExtraCA); err != nil {
		return nil, err
	}
	if f.inject, err = newInject(c, f.outside); err == nil && c.Commands {
		f.inject.refused = g.noteRefused
	}
	return f, err
}

// refusedInterval limits how often commands for secrets are run again: the guest can ask for what
// no secret permits.
const refusedInterval = time.Minute

// noteRefused makes the commands for secrets run again.
func (g *Gateway) noteRefused() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if time.Since(g.refused) < refusedInterval {
		return
	}
	g.refused = time.Now()
	if err := os.WriteFile(filepath.Join(g.directory, control.RefusedFile), nil, 0o600); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

// listen starts the services that the guest has at the addresses of the router.
func (g *Gateway) listen() error {
	packets, err := g.stack.ListenUDP(netstack.DNS, 53)
	if err != nil {
		return err
	}
	queries, err := g.stack.ListenTCP(netstack.DNS, 53)
	if err != nil {
		return err
	}
	web, err := g.stack.ListenTCP(netstack.Router, 80)
	if err != nil {
		return err
	}
	go g.serveDNS(packets)
	go g.acceptAll(queries, g.serveDNSOverTCP)
	go newServer(g.local()).Serve(netutil.LimitListener(web, maxRequests))
	return nil
}

// Flush writes what is not yet in the journal. The gateway must not be used afterwards.
func (g *Gateway) Flush() { g.audit.flush() }

// acceptAll serves the connections of a listener within the limit of connections.
func (g *Gateway) acceptAll(l net.Listener, serve func(net.Conn)) {
	accept(l, func(c net.Conn) {
		if !g.take() {
			c.Close()
			return
		}
		go func() {
			defer g.give()
			serve(c)
		}()
	})
}

// accept calls serve for each connection of a listener until it is closed.
func accept(l net.Listener, serve func(net.Conn)) {
	for {
		c, err := l.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil: // for example, too many files are open
			fmt.Fprintf(os.Stderr, "%v: %v\n", l.Addr(), err)
			time.Sleep(100 * time.Millisecond)
		default:
			serve(c)
		}
	}
}

// take takes one of the slots for connections, if there is one.
func (g *Gateway) take() bool {
	select {
	case g.slots <- struct{}{}:
		return true
	default:
		return false
	}
}

func (g *Gateway) give() { <-g.slots }

// errTooMany is why a connection fails if there is no slot.
var errTooMany = errors.New("too many connections are open")

// Serve connects to QEMU's socket, again and again until ctx is done.
func (g *Gateway) Serve(ctx context.Context, dial func(context.Context) (net.Conn, error)) {
	wait := 10 * time.Millisecond
	for ctx.Err() == nil {
		conn, err := dial(ctx)
		if err == nil {
			stop := context.AfterFunc(ctx, func() { conn.Close() })
			err = g.stack.Serve(conn)
			stop()
			conn.Close()
			wait = 10 * time.Millisecond
		}
		if ctx.Err() == nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, io.EOF) {
			fmt.Fprintf(os.Stderr, "connection to QEMU: %v\n", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = min(2*wait, 100*time.Millisecond)
	}
}

// current returns the policy in force.
func (g *Gateway) current() *policy.Policy { return g.force.Load().policy }

// judge decides about a connection, to a name that is not yet resolved or to an address.
func (g *Gateway) judge(q policy.Request) policy.Decision {
	f := g.force.Load()
	if q.Name != "" && !q.Address.IsValid() {
		return f.policy.Name(q)
	}
	return f.policy.Address(q, f.outside.own())
}

// request returns what the guest wants by connecting to an address: a name, if the address
// stands for one.
func (g *Gateway) request(protocol string, to netip.AddrPort) policy.Request {
	q := policy.Request{Protocol: protocol, Port: to.Port()}
	if name, ok := g.names.name(to.Addr()); ok {
		q.Name = name
	} else {
		q.Address = to.Addr()
	}
	return q
}

// track registers a connection, so that it is closed when the policy changes and denies it. The
// returned function removes it.
func (g *Gateway) track(q policy.Request, close func()) (untrack func()) {
	f := &flow{request: q, since: time.Now(), close: close}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.flows[f] = true
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.flows, f)
	}
}
