package gateway

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"
)

// TestFlood checks the limits of connections and of lines in the journal.
func TestFlood(t *testing.T) {
	w := newWorld(t, nil)
	w.echo("93.184.216.34:7")
	// However long the loop takes, no line becomes possible, which would start the count again.
	w.gateway.audit.limit.SetLimit(0)
	for range 1000 {
		w.gateway.audit.deniedBy(w.gateway.request("tcp", netip.MustParseAddrPort("10.0.0.1:7")), w.gateway.judge(w.gateway.request("tcp", netip.MustParseAddrPort("10.0.0.1:7"))))
	}
	if left := w.gateway.audit.left; left < 1000-logBurst {
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
	for range 100 {
		if w.echoes("93.184.216.34:7") {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Error("no connection is possible after the flood")
}

// TestLargeHeader checks that a server cannot fill the gateway's memory with the header of an answer.
func TestLargeHeader(t *testing.T) {
	w := webWorld(t)
	w.web("93.184.216.34:80", func(rw http.ResponseWriter, _ *http.Request) {
		for i := range 16 {
			rw.Header().Set(fmt.Sprintf("X-%d", i), strings.Repeat("x", maxAnswerHeader/8))
		}
	})
	if r, _ := exchange(t, w.must("example.com:80"), "GET / HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n"); r.StatusCode != 502 {
		t.Errorf("an answer with a header of %d bytes: %s", 2*maxAnswerHeader, r.Status)
	}
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
	if text, err := os.ReadFile(path); err != nil || bytes.Count(text, []byte("\n")) > 2*maxNames {
		t.Errorf("the file has %d lines", bytes.Count(text, []byte("\n")))
	}
}

// TestRequestFlood checks the limit of connections to gateway.internal, which has slots of its
// own: those of other connections stay free.
func TestRequestFlood(t *testing.T) {
	w := newWorld(t, nil)
	w.echo("93.184.216.34:7")
	const text = "GET / HTTP/1.1\r\nHost: gateway.internal\r\n\r\n"
	var open []net.Conn
	for range maxRequests {
		c := w.must("10.0.2.2:80")
		if r, _ := exchange(t, c, text); r.StatusCode != http.StatusOK {
			t.Fatal(r.Status)
		}
		open = append(open, c)
	}
	c := w.must("10.0.2.2:80")
	c.SetDeadline(time.Now().Add(300 * time.Millisecond))
	io.WriteString(c, text)
	if n, _ := c.Read(make([]byte, 1)); n > 0 {
		t.Error("a connection above the limit is served")
	}
	if !w.echoes("93.184.216.34:7") {
		t.Error("requests to gateway.internal use the slots of other connections")
	}
	open[0].Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.Read(make([]byte, 1)); err != nil {
		t.Errorf("a connection that waited is not served: %v", err)
	}
}
