package gateway

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/t0mpr1c3/claude-microvm/internal/control"
	"github.com/t0mpr1c3/claude-microvm/internal/netstack"
	"github.com/t0mpr1c3/claude-microvm/internal/vm"
	"golang.org/x/net/dns/dnsmessage"
)

// world is a gateway with a guest's TCP/IP stack on one side and an Internet of local servers
// on the other.
type world struct {
	t       *testing.T
	gateway *Gateway
	guest   *netstack.Peer
	config  Config
	events  chan control.Event

	mu      sync.Mutex
	hosts   map[string][]netip.Addr // the names of the Internet
	servers map[string]string       // address:port/network to the local address of the server
	lookups []string
	dialed  []string
}

// maxRecorded is more than a test looks at. In TestSoak, the memory of the test itself must not grow.
const maxRecorded = 1000

// newWorld returns a world whose gateway has these settings.
func newWorld(t *testing.T, change func(*Config)) *world {
	t.Helper()
	w := &world{
		t: t, config: Config{Settings: vm.Default(), Directory: t.TempDir(), API: "http://api.test"},
		hosts: map[string][]netip.Addr{}, servers: map[string]string{},
	}
	if change != nil {
		change(&w.config)
	}
	w.start(false)
	return w
}

// start starts a gateway, in place of the one before.
func (w *world) start(restarted bool) {
	w.t.Helper()
	t := w.t
	var err error
	if w.gateway, err = New(w.config, restarted); err != nil {
		t.Fatal(err)
	}
	w.replace(w.gateway.force.Load().outside)
	peer, stopPeer, err := netstack.NewPeer(w.gateway.stack)
	if err != nil {
		t.Fatal(err)
	}
	w.guest = peer
	t.Cleanup(stopPeer)
	var stop func()
	w.events, stop = w.gateway.audit.listen()
	t.Cleanup(stop)
}

// replace makes a gateway use this world.
func (w *world) replace(o *outside) {
	o.resolve = func(_ context.Context, _, name string) ([]netip.Addr, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.lookups) < maxRecorded {
			w.lookups = append(w.lookups, name)
		}
		addresses, found := w.hosts[strings.TrimSuffix(name, ".")]
		if !found {
			return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
		}
		return slices.Clone(addresses), nil
	}
	o.open = func(ctx context.Context, network, address string) (net.Conn, error) {
		w.mu.Lock()
		server := w.servers[address+"/"+network]
		if len(w.dialed) < maxRecorded {
			w.dialed = append(w.dialed, address)
		}
		w.mu.Unlock()
		if server == "" {
			return nil, errors.New("connection refused")
		}
		var d net.Dialer
		return d.DialContext(ctx, network, server)
	}
	o.interfaces = func() ([]net.Addr, error) {
		_, lan, _ := net.ParseCIDR("9.9.9.0/24")
		return []net.Addr{lan}, nil
	}
}

// host adds a name with addresses.
func (w *world) host(name string, addresses ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range addresses {
		w.hosts[name] = append(w.hosts[name], netip.MustParseAddr(a))
	}
}

// server adds a server at address:port/network, which is at local.
func (w *world) server(address, local string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.servers[address] = local
}

// echo adds a TCP server that returns what it receives.
func (w *world) echo(address string) {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { l.Close() })
	w.server(address+"/tcp", l.Addr().String())
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				io.Copy(c, c)
				c.Close()
			}()
		}
	}()
}

// web adds an HTTP server.
func (w *world) web(address string, h http.HandlerFunc) {
	s := httptest.NewServer(h)
	w.t.Cleanup(s.Close)
	w.server(address+"/tcp", s.Listener.Addr().String())
}

// secure adds an HTTPS server, and returns a configuration of clients that trust it.
func (w *world) secure(address string, h http.HandlerFunc) *tls.Config {
	s := httptest.NewTLSServer(h)
	w.t.Cleanup(s.Close)
	w.server(address+"/tcp", s.Listener.Addr().String())
	return s.Client().Transport.(*http.Transport).TLSClientConfig
}

// query asks the gateway's DNS server.
func (w *world) query(name string, kind dnsmessage.Type) dnsmessage.Message {
	w.t.Helper()
	c, err := w.guest.Dial(context.Background(), "udp", netip.AddrPortFrom(netstack.DNS, 53))
	if err != nil {
		w.t.Fatal(err)
	}
	defer c.Close()
	q := dnsmessage.Message{Header: dnsmessage.Header{ID: 7, RecursionDesired: true}, Questions: []dnsmessage.Question{
		{Name: dnsmessage.MustNewName(name + "."), Type: kind, Class: dnsmessage.ClassINET},
	}}
	text, err := q.Pack()
	if err != nil {
		w.t.Fatal(err)
	}
	c.Write(text)
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	buf := make([]byte, 1024)
	n, err := c.Read(buf)
	if err != nil {
		w.t.Fatalf("query %s: %v", name, err)
	}
	var m dnsmessage.Message
	if err := m.Unpack(buf[:n]); err != nil || m.ID != 7 {
		w.t.Fatalf("query %s: %v, %v", name, m, err)
	}
	return m
}

// address returns the address of a name in the guest.
func (w *world) address(name string) netip.Addr {
	w.t.Helper()
	m := w.query(name, dnsmessage.TypeA)
	if len(m.Answers) != 1 {
		w.t.Fatalf("%s: %v", name, m)
	}
	return netip.AddrFrom4(m.Answers[0].Body.(*dnsmessage.AResource).A)
}

// dial connects from the guest to NAME:PORT or ADDRESS:PORT.
func (w *world) dial(protocol, target string) (net.Conn, error) {
	w.t.Helper()
	host, port, err := net.SplitHostPort(target)
	if err != nil {
		w.t.Fatal(err)
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		a = w.address(host)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := w.guest.Dial(ctx, protocol, netip.MustParseAddrPort(fmt.Sprintf("%v:%s", a, port)))
	if err == nil {
		c.SetDeadline(time.Now().Add(10 * time.Second))
		w.t.Cleanup(func() { c.Close() })
	}
	return c, err
}

// must returns a connection that must succeed.
func (w *world) must(target string) net.Conn {
	w.t.Helper()
	c, err := w.dial("tcp", target)
	if err != nil {
		w.t.Fatalf("connect to %s: %v", target, err)
	}
	return c
}

// echoes reports whether an echo server answers at a target.
func (w *world) echoes(target string) bool {
	w.t.Helper()
	c, err := w.dial("tcp", target)
	if err != nil {
		return false
	}
	defer c.Close()
	return answers(c)
}

// answers reports whether the other end of a connection returns what it receives.
func answers(c net.Conn) bool {
	if _, err := io.WriteString(c, "hello"); err != nil {
		return false
	}
	buf := make([]byte, 5)
	_, err := io.ReadFull(c, buf)
	return err == nil && string(buf) == "hello"
}

// event waits for a decision about a target.
func (w *world) event(decision, target string) control.Event {
	w.t.Helper()
	var seen []string
	for timeout := time.After(10 * time.Second); ; {
		select {
		case e := <-w.events:
			if e.Decision == decision && strings.HasPrefix(e.Target, target) {
				return e
			}
			seen = append(seen, e.Decision+" "+e.Target+": "+e.Reason)
		case <-timeout:
			w.t.Fatalf("no decision %s %s; but %q", decision, target, seen)
		}
	}
}

// exchange writes raw HTTP to a connection and returns the first answer and its body.
func exchange(t *testing.T, c net.Conn, text string) (*http.Response, string) {
	t.Helper()
	io.WriteString(c, text)
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	body, _ := io.ReadAll(r.Body)
	return r, string(body)
}

// dialTo connects to one server, whatever the address.
type dialTo struct{ server string }

func (d *dialTo) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	var dialer net.Dialer
	return dialer.DialContext(ctx, network, d.server)
}
