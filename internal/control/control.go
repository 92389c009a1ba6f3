// Package control is what claude-vm-ctl and the gateway of a VM exchange, over a socket that
// only the user can open. The client writes a Request, the gateway one Reply or more. Both are
// JSON.
package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/unixsocket"
)

// socket is the name of the socket in the gateway's directory.
const socket = "control.sock"

// AskedFile is the name of a file in the gateway's directory. The gateway creates it when the
// guest asks for a name, and claude-vm-ask@.path then starts the unit that notifies the user.
const AskedFile = "asked"

// RefusedFile is the name of a file in the gateway's directory. The gateway creates it when a
// server refuses a secret, and claude-vm-secrets@.path then starts the unit that gets another one.
const RefusedFile = "refused"

// Request asks the gateway for its status, after a change if there is one, or for its
// decisions.
type Request struct {
	Change *Change `json:"change,omitempty"`
	// Hold are ports to publish until the client disconnects.
	Hold []string `json:"hold,omitempty"`
	// Events asks for a reply for each further decision, until the client disconnects.
	Events bool `json:"events,omitempty"`
}

// Reply has one of these.
type Reply struct {
	Error  *failure.Error `json:"error,omitempty"`
	Status *Status        `json:"status,omitempty"`
	Event  *Event         `json:"event,omitempty"`
}

// Status is what a gateway reports.
type Status struct {
	Mode        string       `json:"mode"`
	Allow       []Rule       `json:"allow"`
	Deny        []Rule       `json:"deny"`
	Ports       []Port       `json:"ports"`
	Connections []Connection `json:"connections"`
	Denied      []Denied     `json:"denied"`
	// Requests are names that the guest asks for.
	Requests []Asked  `json:"requests"`
	Injected []Secret `json:"injected"`
	Proxy    string   `json:"proxy,omitempty"` // without its password
}

// Rule is a rule of the policy.
type Rule struct {
	Rule string `json:"rule"`
	Live bool   `json:"live"` // added to the running VM; else from a .vm file or an option
}

// Port is a published port.
type Port struct {
	Port  string `json:"port"` // as in PublishPort=
	Live  bool   `json:"live"`
	Error string `json:"error,omitempty"` // why it is not open
}

// Connection is an open connection of the guest.
type Connection struct {
	Protocol string    `json:"protocol"`
	Name     string    `json:"name,omitempty"`
	Address  string    `json:"address"`
	Port     int       `json:"port"`
	Since    time.Time `json:"since"`
}

// Denied is what was denied lately.
type Denied struct {
	Target string    `json:"target"` // NAME:PORT/PROTOCOL
	Reason string    `json:"reason"`
	Count  int       `json:"count"`
	Last   time.Time `json:"last"`
	// Allow is the rule that would allow it; empty if none can.
	Allow string `json:"allow,omitempty"`
}

// Asked is a name that the guest asks for.
type Asked struct {
	Rule   string    `json:"rule"`
	Reason string    `json:"reason,omitempty"` // the guest's words
	Time   time.Time `json:"time"`
}

// Secret is a secret that the gateway adds to requests.
type Secret struct {
	Name string `json:"name"`
	Host string `json:"host"`
}

// Change changes the policy and the ports of a running VM.
type Change struct {
	Allow     []string `json:"allow,omitempty"`
	Deny      []string `json:"deny,omitempty"`
	Reset     []string `json:"reset,omitempty"` // rules to remove from both
	Publish   []string `json:"publish,omitempty"`
	Unpublish []string `json:"unpublish,omitempty"`
}

// Event is a decision of the gateway.
type Event struct {
	Time     time.Time `json:"time"`
	Decision string    `json:"decision"` // allowed, denied, failed or asked
	Target   string    `json:"target"`
	Address  string    `json:"address,omitempty"`
	Rule     string    `json:"rule,omitempty"`
	Reason   string    `json:"reason,omitempty"`
}

// timeout limits an exchange, except of decisions.
const timeout = 10 * time.Second

// Ask returns the status of the gateway with its socket in a directory. Unless change is nil,
// it applies all of the change or nothing, before that. The error wraps os.ErrNotExist if
// there is no gateway.
func Ask(ctx context.Context, dir string, change *Change) (Status, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var s Status
	err := exchange(ctx, dir, Request{Change: change}, func(r Reply) error {
		if r.Status != nil {
			s = *r.Status
		}
		return nil
	})
	return s, err
}

// Hold publishes ports until ctx is done or the gateway exits. It calls ready when they are open.
func Hold(ctx context.Context, dir string, ports []string, ready func()) error {
	return exchange(ctx, dir, Request{Hold: ports}, func(Reply) error {
		ready()
		return nil
	})
}

// Events calls handle for each decision until ctx is done or the gateway exits.
func Events(ctx context.Context, dir string, handle func(Event) error) error {
	return exchange(ctx, dir, Request{Events: true}, func(r Reply) error {
		if r.Event == nil {
			return nil
		}
		return handle(*r.Event)
	})
}

// exchange sends a request and handles the replies.
func exchange(ctx context.Context, dir string, r Request, handle func(Reply) error) error {
	c, err := unixsocket.Dial(ctx, dir, socket)
	if err != nil {
		return err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	if err := json.NewEncoder(c).Encode(r); err != nil {
		return err
	}
	for in := json.NewDecoder(c); ; {
		var reply Reply
		err := in.Decode(&reply)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, io.EOF):
			return nil
		case err == nil && reply.Error != nil:
			err = reply.Error
		case err == nil:
			err = handle(reply)
		}
		if err != nil {
			return err
		}
	}
}

// Listen listens on the socket in a directory. restarted reports whether another gateway of
// the same run did before.
func Listen(dir string) (l net.Listener, restarted bool, err error) {
	d, path, err := open(dir)
	if err != nil {
		return nil, false, err
	}
	defer d.Close()
	err = os.Remove(path)
	restarted = err == nil
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, false, err
	}
	l, err = net.Listen("unix", path)
	return l, restarted, err
}

// open opens a directory, and returns a path of the socket in it, which is valid until the
// directory is closed: the address of a UNIX socket is limited to 107 bytes, and dir may be
// longer.
func open(dir string) (d *os.File, path string, err error) {
	d, err = os.Open(dir)
	if err != nil {
		return nil, "", err
	}
	return d, filepath.Join("/proc/self/fd", fmt.Sprint(d.Fd()), socket), nil
}
