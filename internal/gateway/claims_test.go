package gateway

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

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

// webWorld has a web server at example.com, the only name that is allowed. It answers with
// the request.
func webWorld(t *testing.T) *world {
	w := newWorld(t, network("allow", "example.com", ""))
	w.host("example.com", "93.184.216.34")
	w.web("93.184.216.34:80", func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(rw, "%s %s %s %s", r.Method, r.Host, r.URL, body)
	})
	return w
}

func TestHTTPNames(t *testing.T) {
	w := webWorld(t)
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
	// The reason of a denial.
	r, body := exchange(t, w.must("evil.test:80"), "GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n")
	if r.StatusCode != 403 || !strings.Contains(body, "denied the connection to evil.test:80: the name is not in Allow=") || !strings.Contains(body, "curl -d evil.test:80 http://gateway.internal/ask") {
		t.Errorf("a denied name: %s %s", r.Status, body)
	}
}

// TestHTTPRequests checks the further requests of a connection.
func TestHTTPRequests(t *testing.T) {
	w := webWorld(t)
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
}

func TestUpgrade(t *testing.T) {
	w := webWorld(t)
	// After an upgrade, which the server has accepted, both sides can write what they want.
	w.web("93.184.216.34:80", func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			return
		}
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
	// After another upgrade, the other requests of the connection would not be seen.
	other := w.must("example.com:80")
	io.WriteString(other, "GET / HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
	if r, err := http.ReadResponse(bufio.NewReader(other), nil); err != nil || r.StatusCode != http.StatusOK {
		t.Errorf("another upgrade: %v, %v", r, err)
	}
}
