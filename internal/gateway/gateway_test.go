package gateway

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/t0mpr1c3/claude-microvm/internal/control"
	"github.com/t0mpr1c3/claude-microvm/internal/vm"
	"github.com/t0mpr1c3/claude-microvm/internal/vmfile"
	"golang.org/x/net/dns/dnsmessage"
)

// network returns a change of the settings to a mode and rules.
func network(mode, allow, deny string) func(*Config) {
	return func(c *Config) {
		c.Settings.Network, c.Settings.Allow, c.Settings.Deny = mode, strings.Fields(allow), strings.Fields(deny)
	}
}

func TestInternet(t *testing.T) {
	w := newWorld(t, network("internet", "10.7.0.0/16 host.internal:5432", "denied.test"))
	for name, address := range map[string]string{
		"public.test": "93.184.216.34", "denied.test": "93.184.216.34", "private.test": "10.0.0.1", "loopback.test": "127.0.0.1",
		"meta.test": "169.254.169.254", "zero.test": "0.0.0.0", "lan.test": "9.9.9.7", "mapped.test": "::ffff:10.0.0.1",
		"nat64.test": "64:ff9b::a00:1", "allowed.test": "10.7.0.1", "six.test": "2a00:1::1",
	} {
		w.host(name, address)
		w.echo(fmt.Sprintf("%s:7", strings.Replace("["+address+"]", "["+address+"]", bracketed(address), 1)))
	}
	w.host("mixed.test", "10.0.0.1", "93.184.216.34")
	w.echo("127.0.0.1:5432")
	for _, target := range []string{"public.test:7", "93.184.216.34:7", "allowed.test:7", "10.7.0.1:7", "six.test:7", "mixed.test:7", "host.internal:5432"} {
		if !w.echoes(target) {
			t.Errorf("%s is not allowed", target)
		}
	}
	for _, target := range []string{
		"denied.test:7", "private.test:7", "loopback.test:7", "meta.test:7", "zero.test:7", "lan.test:7", "mapped.test:7", "nat64.test:7",
		"10.0.0.1:7", "127.0.0.1:7", "9.9.9.7:7", "host.internal:7", "10.0.2.2:7", "10.0.2.15:99", "198.19.255.1:7", "169.254.169.254:7",
	} {
		if w.echoes(target) {
			t.Errorf("%s is allowed", target)
		}
	}
	for _, address := range w.dialed {
		if strings.HasPrefix(address, "10.0") || strings.HasPrefix(address, "169") || address == "127.0.0.1:7" {
			t.Errorf("the gateway connected to %s", address)
		}
	}
}

func bracketed(address string) string {
	if strings.Contains(address, ":") {
		return "[" + address + "]"
	}
	return address
}

// TestRebinding checks that a name that gets a private address is denied from then on.
func TestRebinding(t *testing.T) {
	w := newWorld(t, nil)
	w.host("rebind.test", "93.184.216.34")
	w.echo("93.184.216.34:7")
	w.echo("10.0.0.1:7")
	if !w.echoes("rebind.test:7") {
		t.Error("not allowed at first")
	}
	w.mu.Lock()
	w.hosts["rebind.test"] = nil
	w.mu.Unlock()
	w.host("rebind.test", "10.0.0.1")
	clear(w.gateway.force.Load().outside.lookups)
	if w.echoes("rebind.test:7") {
		t.Error("the private address is allowed")
	}
}

func TestDNS(t *testing.T) {
	w := newWorld(t, network("allow", "good.test *.wild.test", ""))
	w.host("good.test", "93.184.216.34")
	w.host("a.wild.test", "93.184.216.34")
	first := w.address("good.test")
	if !synthetic.Contains(first) || w.address("GOOD.test") != first || w.address("a.wild.test") == first {
		t.Errorf("addresses: %v", first)
	}
	for _, kind := range []dnsmessage.Type{dnsmessage.TypeAAAA, dnsmessage.TypeTXT, 65, dnsmessage.TypeMX} {
		if m := w.query("good.test", kind); len(m.Answers) != 0 || m.RCode != dnsmessage.RCodeSuccess {
			t.Errorf("record of type %v: %v", kind, m)
		}
	}
	if m := w.query("none.wild.test", dnsmessage.TypeA); m.RCode != dnsmessage.RCodeNameError {
		t.Errorf("a name that does not exist: %v", m)
	}
	w.lookups = nil
	w.address("secret-data.evil.test")
	w.query("more-data.evil.test", dnsmessage.TypeTXT)
	if len(w.lookups) != 0 {
		t.Errorf("denied names were looked up: %v", w.lookups)
	}
	if got := w.address("gateway.internal"); got.String() != "10.0.2.2" {
		t.Errorf("gateway.internal is %v", got)
	}
	// Other resolvers are addresses that are not allowed.
	if w.echoes("8.8.8.8:53") {
		t.Error("another resolver is allowed")
	}
	// Over TCP.
	c := w.must("10.0.2.3:53")
	q := dnsmessage.Message{Header: dnsmessage.Header{ID: 9}, Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName("good.test."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}}}
	text, _ := q.Pack()
	c.Write(append([]byte{0, byte(len(text))}, text...))
	answer := make([]byte, 2)
	if _, err := io.ReadFull(c, answer); err != nil || answer[1] == 0 {
		t.Errorf("query over TCP: %v, %v", answer, err)
	}
}

func TestTLSNames(t *testing.T) {
	w := newWorld(t, network("allow", "example.com other.test 93.184.216.0/24", ""))
	w.host("example.com", "93.184.216.34")
	w.host("other.test", "93.184.216.34")
	trust := w.secure("93.184.216.34:443", func(rw http.ResponseWriter, _ *http.Request) { fmt.Fprint(rw, "secret") })
	handshake := func(target, name string) error {
		c := w.must(target + ":443")
		config := trust.Clone()
		config.ServerName = name
		return tls.Client(c, config).Handshake()
	}
	if err := handshake("example.com", "example.com"); err != nil {
		t.Errorf("the name itself: %v", err)
	}
	w.event("allowed", "example.com:443")
	if err := handshake("93.184.216.34", "example.com"); err != nil {
		t.Errorf("an address that is allowed: %v", err)
	}
	if err := handshake("other.test", "example.com"); err == nil {
		t.Error("another name is allowed")
	}
	if e := w.event("denied", "other.test:443"); !strings.Contains(e.Reason, "another name: example.com") {
		t.Errorf("another name: %+v", e)
	}
	config := trust.Clone()
	config.ServerName, config.InsecureSkipVerify = "", true
	if tls.Client(w.must("example.com:443"), config).Handshake() == nil {
		t.Error("no name is allowed")
	}
	w.event("denied", "example.com:443")
	if answers(w.must("example.com:443")) {
		t.Error("something else than TLS is allowed")
	}
	// In pieces: the name is found, and all bytes arrive.
	config = trust.Clone()
	config.ServerName = "example.com"
	if err := tls.Client(&slowConn{w.must("example.com:443")}, config).Handshake(); err != nil {
		t.Errorf("in pieces: %v", err)
	}
}

// slowConn writes few bytes at a time.
type slowConn struct{ net.Conn }

func (c *slowConn) Write(p []byte) (int, error) {
	for i := 0; i < len(p); i += 40 {
		if _, err := c.Conn.Write(p[i:min(i+40, len(p))]); err != nil {
			return i, err
		}
	}
	return len(p), nil
}

// TestDeniedNames checks that Deny= with a name is found in connections to an address.
func TestDeniedNames(t *testing.T) {
	w := newWorld(t, network("internet", "", "evil.test"))
	trust := w.secure("93.184.216.34:443", func(http.ResponseWriter, *http.Request) {})
	w.web("93.184.216.34:80", func(rw http.ResponseWriter, r *http.Request) { fmt.Fprint(rw, r.Host) })
	config := trust.Clone()
	config.InsecureSkipVerify = true
	if r, _ := sendTo(t, w, "Host: evil.test.."); r.StatusCode != 403 {
		t.Errorf("a name that is invalid: %s", r.Status)
	}
	if r, _ := sendTo(t, w, "Host: evil.test:80:80"); r.StatusCode != 403 && r.StatusCode != 400 {
		t.Errorf("two ports: %s", r.Status)
	}
	if answers(w.must("93.184.216.34:443")) {
		t.Error("something else than TLS is allowed")
	}
	for name, want := range map[string]bool{"evil.test": false, "good.test": true} {
		config.ServerName = name
		if got := tls.Client(w.must("93.184.216.34:443"), config).Handshake() == nil; got != want {
			t.Errorf("TLS for %s: %v", name, got)
		}
		r, _ := exchange(t, w.must("93.184.216.34:80"), "GET / HTTP/1.1\r\nHost: "+name+"\r\nConnection: close\r\n\r\n")
		if got := r.StatusCode == 200; got != want {
			t.Errorf("HTTP for %s: %v", name, r.Status)
		}
	}
}

// sendTo sends a request with a header to an address.
func sendTo(t *testing.T, w *world, header string) (*http.Response, string) {
	return exchange(t, w.must("93.184.216.34:80"), "GET / HTTP/1.1\r\n"+header+"\r\nConnection: close\r\n\r\n")
}

func TestHTTPNames(t *testing.T) {
	w := newWorld(t, network("allow", "example.com", ""))
	w.host("example.com", "93.184.216.34")
	w.web("93.184.216.34:80", func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(rw, "%s %s %s %s", r.Method, r.Host, r.URL, body)
	})
	ok := func(text, want string) {
		t.Helper()
		if r, body := exchange(t, w.must("example.com:80"), text); r.StatusCode != 200 || body != want {
			t.Errorf("%q: %s %s", text, r.Status, body)
		}
	}
	ok("GET /a?b=%zz;c HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n", "GET example.com /a?b=%zz;c ")
	ok("POST / HTTP/1.1\r\nHost: EXAMPLE.com:80\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi", "POST EXAMPLE.com:80 / hi")
	ok("GET http://example.com/x HTTP/1.1\r\nHost: evil.test\r\nConnection: close\r\n\r\n", "GET example.com /x ")
	for _, text := range []string{
		"GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n",
		"GET http://evil.test/ HTTP/1.1\r\nHost: example.com\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: example.com\r\nHost: evil.test\r\n\r\n",
		"GET / HTTP/1.0\r\n\r\n",
		"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"SSH-2.0-x\r\n\r\n",
	} {
		if r, body := exchange(t, w.must("example.com:80"), text); r.StatusCode < 400 {
			t.Errorf("%q: %s %s", text, r.Status, body)
		}
	}
	// The second request of a connection.
	c := w.must("example.com:80")
	if _, body := exchange(t, c, "GET / HTTP/1.1\r\nHost: example.com\r\n\r\nGET /2 HTTP/1.1\r\nHost: evil.test\r\n\r\n"); !strings.HasPrefix(body, "GET example.com / ") {
		t.Errorf("first request: %s", body)
	}
	w.event("denied", "example.com:80")
	// The end of a request is not ambiguous for the server.
	c = w.must("example.com:80")
	_, body := exchange(t, c, "POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 50\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /evil HTTP/1.1\r\nHost: evil.test\r\n\r\n")
	if strings.Contains(body, "evil") {
		t.Errorf("a request was smuggled: %s", body)
	}
	// One connection of the guest is one connection to the server, whatever is in Host.
	w.dialed = nil
	c = w.must("example.com:80")
	requests := bufio.NewReader(c)
	for port := range 50 {
		fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: example.com:%d\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", port+1)
		r, err := http.ReadResponse(requests, nil)
		if err != nil || r.StatusCode != 200 {
			t.Fatalf("request %d: %v, %v", port, r, err)
		}
		io.Copy(io.Discard, r.Body)
	}
	if len(w.dialed) != 1 {
		t.Errorf("50 requests made %d connections", len(w.dialed))
	}
	// After an upgrade, which the server has accepted, both sides can write what they want.
	w.web("93.184.216.34:80", func(rw http.ResponseWriter, r *http.Request) {
		c, _, err := http.NewResponseController(rw).Hijack()
		if err != nil {
			return
		}
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		io.Copy(c, c)
	})
	up := w.must("example.com:80")
	io.WriteString(up, "GET / HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	in := bufio.NewReader(up)
	if r, err := http.ReadResponse(in, nil); err != nil || r.StatusCode != 101 {
		t.Errorf("upgrade: %v, %v", r, err)
	}
	for range 3 {
		io.WriteString(up, "hello")
		buf := make([]byte, 5)
		if _, err := io.ReadFull(in, buf); err != nil || string(buf) != "hello" {
			t.Errorf("after an upgrade: %q, %v", buf, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	// The reason of a denial.
	r, body := exchange(t, w.must("evil.test:80"), "GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n")
	if r.StatusCode != 403 || !strings.Contains(body, "denied the connection to evil.test:80: the name is not in Allow=") || !strings.Contains(body, "curl -d evil.test:80 http://gateway.internal/ask") {
		t.Errorf("a denied name: %s %s", r.Status, body)
	}
	if n := len(w.dialed); n > 20 {
		t.Errorf("%d connections", n)
	}
}

func TestUDP(t *testing.T) {
	w := newWorld(t, network("internet", "", ""))
	l, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		buf := make([]byte, 100)
		for {
			n, from, err := l.ReadFrom(buf)
			if err != nil {
				return
			}
			l.WriteTo(append([]byte("re: "), buf[:n]...), from)
		}
	}()
	w.host("time.test", "93.184.216.34")
	w.server("93.184.216.34:123/udp", l.LocalAddr().String())
	w.server("93.184.216.34:443/udp", l.LocalAddr().String())
	ask := func(target string) string {
		c, err := w.dial("udp", target)
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(2 * time.Second))
		c.Write([]byte("now"))
		buf := make([]byte, 100)
		n, _ := c.Read(buf)
		return string(buf[:n])
	}
	if got := ask("time.test:123"); got != "re: now" {
		t.Errorf("UDP: %q", got)
	}
	if got := ask("time.test:443"); got != "" {
		t.Errorf("QUIC: %q", got)
	}
	w.event("denied", "time.test:443/udp")
	if got := ask("10.0.0.1:53"); got != "" {
		t.Errorf("a private address: %q", got)
	}
}

func TestPublish(t *testing.T) {
	w := newWorld(t, nil)
	l, err := w.guest.Listen(80)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go io.Copy(c, c)
		}
	}()
	packets, err := w.guest.ListenPacket(53)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		buf := make([]byte, 100)
		for {
			n, from, err := packets.ReadFrom(buf)
			if err != nil {
				return
			}
			packets.WriteTo(buf[:n], from)
		}
	}()
	for _, address := range []string{"127.0.0.1", "[::1]"} {
		port := freePort(t)
		for protocol, guest := range map[string]int{"tcp": 80, "udp": 53} {
			word := fmt.Sprintf("%s:%d:%d/%s", address, port, guest, protocol)
			if err := w.gateway.Change(control.Change{Publish: []string{word}}); err != nil {
				t.Fatal(err)
			}
			c, err := net.Dial(protocol, address+":"+fmt.Sprint(port))
			if err != nil {
				t.Fatal(err)
			}
			c.SetDeadline(time.Now().Add(10 * time.Second))
			if !answers(c) {
				t.Errorf("%s does not answer", word)
			}
			c.Close()
		}
		// A port that is in use is an error, and is not opened later.
		word := fmt.Sprintf("%s:%d:81", address, port)
		if err := w.gateway.Change(control.Change{Publish: []string{word}}); err == nil || !strings.Contains(err.Error(), "address already in use") {
			t.Errorf("a port that is in use: %v", err)
		}
		for _, p := range w.gateway.Status().Ports {
			if strings.HasSuffix(p.Port, ":81/tcp") {
				t.Errorf("a port that could not be opened is listed: %+v", p)
			}
		}
		if err := w.gateway.Change(control.Change{Unpublish: []string{address + ":" + fmt.Sprint(port)}}); err != nil {
			t.Error(err)
		}
		if c, err := net.Dial("tcp", address+":"+fmt.Sprint(port)); err == nil {
			c.Close()
			t.Error("the port is still open")
		}
	}
	if err := w.gateway.Change(control.Change{Unpublish: []string{"1"}}); err == nil {
		t.Error("a port that is not published was closed")
	}
	// A port goes on after an error of accept(2).
	accepts := &failingListener{}
	go w.gateway.acceptAll(accepts, func(net.Conn) {})
	for range 100 {
		if accepts.calls.Load() > 1 {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if accepts.calls.Load() < 2 {
		t.Error("the port is dead after an error of accept")
	}
	// A port at which nothing listens in the guest.
	port := freePort(t)
	if err := w.gateway.Change(control.Change{Publish: []string{fmt.Sprintf("%d:99", port)}}); err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err == nil && answers(c) {
		t.Error("a closed port of the guest answers")
	}
}

// failingListener fails as if too many files were open, and then is closed.
type failingListener struct {
	net.Listener
	calls atomic.Int32
}

func (l *failingListener) Accept() (net.Conn, error) {
	if l.calls.Add(1) > 1 {
		return nil, net.ErrClosed
	}
	return nil, syscall.EMFILE
}

func (l *failingListener) Addr() net.Addr { return &net.TCPAddr{} }

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// TestChange checks live changes, that they close connections, and that they survive the
// gateway.
func TestChange(t *testing.T) {
	w := newWorld(t, network("allow", "a.test", "never.test"))
	for _, name := range []string{"a.test", "b.test", "never.test"} {
		w.host(name, "93.184.216.34")
	}
	w.echo("93.184.216.34:7")
	if w.echoes("b.test:7") {
		t.Error("b.test is allowed at first")
	}
	denied := w.gateway.Status().Denied
	if len(denied) != 1 || denied[0].Target != "b.test:7/tcp" || denied[0].Count != 1 || denied[0].Allow != "b.test:7" {
		t.Errorf("denied: %+v", denied)
	}
	if err := w.gateway.Change(control.Change{Allow: []string{denied[0].Allow}}); err != nil {
		t.Fatal(err)
	}
	kept, cut := w.must("a.test:7"), w.must("b.test:7")
	if !answers(kept) || !answers(cut) {
		t.Fatal("not allowed after the change")
	}
	if n := len(w.gateway.Status().Connections); n != 2 {
		t.Errorf("%d connections", n)
	}
	for _, c := range []control.Change{
		{Allow: []string{"never.test"}}, {Allow: []string{"a b"}}, {Reset: []string{"a.test"}}, {Publish: []string{"x"}},
		{Allow: []string{"c.test"}, Publish: []string{"0"}},
	} {
		if err := w.gateway.Change(c); err == nil {
			t.Errorf("%+v is no error", c)
		}
	}
	if err := w.gateway.Change(control.Change{Deny: []string{"b.test"}}); err != nil {
		t.Fatal(err)
	}
	if !answers(kept) {
		t.Error("a connection that is allowed was closed")
	}
	if answers(cut) {
		t.Error("a connection that is denied was not closed")
	}
	port := freePort(t)
	if err := w.gateway.Change(control.Change{Publish: []string{fmt.Sprint(port)}, Reset: []string{"b.test"}}); err != nil {
		t.Fatal(err)
	}
	before := w.address("a.test")
	w.gateway.unpublish(vmPort(t, fmt.Sprint(port))) // as if the process had been killed
	w.start(true)
	s := w.gateway.Status()
	if len(s.Allow) != 2 || !s.Allow[1].Live || len(s.Deny) != 1 || len(s.Ports) != 1 || s.Ports[0].Error != "" {
		t.Errorf("after a restart: %+v", s)
	}
	if got := w.address("a.test"); got != before {
		t.Errorf("a.test is %v, was %v", got, before)
	}
	// The guest still has the old address.
	if c := w.must(before.String() + ":7"); !answers(c) {
		t.Error("the address of before the restart does not work")
	}
}

// TestTakenPort checks that a port that is in use prevents the start of a VM, but not the
// restart of its gateway.
func TestTakenPort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := Config{Settings: vm.Default(), Directory: t.TempDir()}
	c.Settings.Ports = append(c.Settings.Ports, vmPort(t, fmt.Sprint(l.Addr().(*net.TCPAddr).Port)))
	if _, err := New(c, false); err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("at the start: %v", err)
	}
	g, err := New(c, true)
	if err != nil {
		t.Fatal(err)
	}
	if ports := g.Status().Ports; len(ports) != 1 || !strings.Contains(ports[0].Error, "address already in use") {
		t.Errorf("after a restart: %+v", ports)
	}
}

func vmPort(t *testing.T, word string) vm.Port {
	t.Helper()
	p, err := vmfile.ParsePort(word)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestAsk(t *testing.T) {
	w := newWorld(t, network("allow", "", ""))
	post := func(text string) (int, string) {
		r, body := exchange(t, w.must("gateway.internal:80"), fmt.Sprintf("POST /ask HTTP/1.1\r\nHost: gateway.internal\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(text), text))
		return r.StatusCode, body
	}
	if status, body := post("example.com:443 for \x1b[31m tests " + strings.Repeat("x", 500)); status != 200 {
		t.Errorf("%d %s", status, body)
	}
	for range 2 * maxAsks {
		post("example.com:443 again")
	}
	if status, _ := post("%%% x"); status != 400 {
		t.Errorf("an invalid rule: %d", status)
	}
	asks := w.gateway.Status().Requests
	if len(asks) != 1 || asks[0].Rule != "example.com:443" || len(asks[0].Reason) > maxReason+3 {
		t.Errorf("requests: %+v", asks)
	}
	if err := w.gateway.Change(control.Change{Allow: []string{"example.com:443"}}); err != nil {
		t.Fatal(err)
	}
	if asks := w.gateway.Status().Requests; len(asks) != 0 {
		t.Errorf("requests after one is granted: %+v", asks)
	}
	if _, body := exchange(t, w.must("gateway.internal:80"), "GET / HTTP/1.1\r\nHost: gateway.internal\r\nConnection: close\r\n\r\n"); !strings.Contains(body, "  example.com:443\n") {
		t.Errorf("description: %s", body)
	}
	w.gateway.force.Load().settings.Ask = false
	if status, _ := post("example.org"); status != 403 {
		t.Errorf("Ask=no: %d", status)
	}
}

// TestFlood checks the limits of connections and of lines in the journal.
func TestFlood(t *testing.T) {
	w := newWorld(t, nil)
	w.echo("93.184.216.34:7")
	for range 1000 {
		w.gateway.audit.deniedBy(w.gateway.request("tcp", w.addrPort("10.0.0.1:7")), w.gateway.judge(w.gateway.request("tcp", w.addrPort("10.0.0.1:7"))))
	}
	if left := w.gateway.audit.left; left < 1000-logBurst-logRate*5 {
		t.Errorf("%d of 1000 decisions are not in the journal", left)
	}
	for i := range 2 * maxDenied {
		w.echoes(fmt.Sprintf("10.0.0.1:%d", 1000+i))
	}
	if n := len(w.gateway.Status().Denied); n != maxDenied {
		t.Errorf("%d targets are remembered, want %d", n, maxDenied)
	}
	var open []net.Conn
	for range maxConnections {
		open = append(open, w.must("93.184.216.34:7"))
	}
	if w.echoes("93.184.216.34:7") {
		t.Error("too many connections are possible")
	}
	for _, c := range open {
		c.Close()
	}
	open = nil
	for range maxRequests + 20 { // gateway.internal has a limit of its own
		c, err := w.dial("tcp", "10.0.2.2:80")
		if err != nil {
			break
		}
		open = append(open, c)
	}
	for _, c := range open {
		c.Close()
	}
	for range 100 {
		if w.echoes("93.184.216.34:7") {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Error("no connection is possible after the flood")
}

func TestNamesAreReused(t *testing.T) {
	path := t.TempDir() + "/names"
	n, err := openNames(path)
	if err != nil {
		t.Fatal(err)
	}
	first := n.address("n0.test")
	for i := range 5 * maxNames / 2 {
		name := fmt.Sprintf("n%d.test", i)
		if got, ok := n.name(n.address(name)); !ok || got != name {
			t.Fatalf("%s is %s, %v", name, got, ok)
		}
	}
	if got, _ := n.name(first); got == "n0.test" {
		t.Error("the oldest name was not replaced")
	}
	again, err := openNames(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := 2 * maxNames; i < 5*maxNames/2; i++ {
		name := fmt.Sprintf("n%d.test", i)
		if again.address(name) != n.address(name) {
			t.Fatalf("%s has another address after a restart", name)
		}
	}
	if text := readAll(t, path); bytes.Count(text, []byte("\n")) > 2*maxNames {
		t.Errorf("the file has %d lines", bytes.Count(text, []byte("\n")))
	}
}
