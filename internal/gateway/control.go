package gateway

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"

	"github.com/t0mpr1c3/claude-microvm/internal/control"
	"github.com/t0mpr1c3/claude-microvm/internal/failure"
)

// ServeControl answers claude-vm-ctl.
func (g *Gateway) ServeControl(l net.Listener) {
	accept(l, func(c net.Conn) { go g.serveControl(c) })
}

// serveControl serves one client.
func (g *Gateway) serveControl(c net.Conn) {
	defer c.Close()
	var r control.Request
	if json.NewDecoder(c).Decode(&r) != nil {
		return
	}
	out := json.NewEncoder(c)
	if r.Change != nil {
		if err := g.Change(*r.Change); err != nil {
			out.Encode(control.Reply{Error: failure.Of(err)})
			return
		}
	}
	if r.Hold != nil {
		g.hold(c, out, r.Hold)
		return
	}
	if !r.Events {
		status := g.Status()
		out.Encode(control.Reply{Status: &status})
		return
	}
	events, stop := g.audit.listen()
	defer stop()
	gone := make(chan struct{})
	go func() {
		io.Copy(io.Discard, c)
		close(gone)
	}()
	for {
		select {
		case e := <-events:
			if out.Encode(control.Reply{Event: &e}) != nil {
				return
			}
		case <-gone:
			return
		}
	}
}

// hold publishes ports until a client disconnects.
func (g *Gateway) hold(c net.Conn, out *json.Encoder, words []string) {
	ports, err := g.publishHeld(words)
	if err != nil {
		out.Encode(control.Reply{Error: failure.Of(err)})
		return
	}
	defer func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		for _, p := range ports {
			delete(g.held, p)
			g.unpublish(p)
		}
	}()
	status := g.Status()
	out.Encode(control.Reply{Status: &status})
	io.Copy(io.Discard, c)
}

// Status returns what is in force and what has happened lately.
func (g *Gateway) Status() control.Status {
	g.mu.Lock()
	defer g.mu.Unlock()
	f := g.force.Load()
	s := control.Status{
		Mode: f.settings.Network, Allow: rules(f.settings.Allow, g.live.Allow), Deny: rules(f.settings.Deny, g.live.Deny),
		Ports: []control.Port{}, Connections: []control.Connection{}, Denied: g.audit.recentlyDenied(),
		Requests: append([]control.Asked{}, g.asks...), Injected: f.inject.list(), Proxy: f.outside.shown(),
	}
	ports := g.live.ports(f.settings)
	for p := range g.held {
		ports[p] = true
	}
	for p, isLive := range ports {
		entry := control.Port{Port: p.String(), Live: isLive}
		if err := g.failures[p]; err != nil {
			entry.Error = err.Error()
		}
		s.Ports = append(s.Ports, entry)
	}
	slices.SortFunc(s.Ports, func(a, b control.Port) int { return strings.Compare(a.Port, b.Port) })
	for open := range g.flows {
		q := open.request
		c := control.Connection{Protocol: q.Protocol, Name: q.Name, Port: int(q.Port), Since: open.since}
		if q.Address.IsValid() {
			c.Address = q.Address.String()
		}
		s.Connections = append(s.Connections, c)
	}
	slices.SortFunc(s.Connections, func(a, b control.Connection) int { return a.Since.Compare(b.Since) })
	return s
}

func rules(configured, added []string) []control.Rule {
	list := []control.Rule{}
	for _, text := range configured {
		list = append(list, control.Rule{Rule: text})
	}
	for _, text := range added {
		list = append(list, control.Rule{Rule: text, Live: true})
	}
	return list
}

// Summary is the status text of the gateway's unit.
func (g *Gateway) Summary() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	f := g.force.Load()
	text := "Mode=" + f.settings.Network
	if n := len(f.policy.Allow); n > 0 {
		text += fmt.Sprintf(", %d allowed", n)
	}
	if n := len(f.policy.Deny); n > 0 {
		text += fmt.Sprintf(", %d denied", n)
	}
	if n := len(g.ports); n > 0 {
		text += fmt.Sprintf(", %d ports", n)
	}
	return text
}
