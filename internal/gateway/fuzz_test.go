package gateway

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/t0mpr1c3/claude-microvm/internal/policy"
	"github.com/t0mpr1c3/claude-microvm/internal/vm"
	"golang.org/x/net/dns/dnsmessage"
)

// FuzzDNS checks that the answer to each message is a valid answer or none.
func FuzzDNS(f *testing.F) {
	q := dnsmessage.Message{Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName("a.test."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}}}
	text, err := q.Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	settings := vm.Default()
	settings.Network = policy.Allow // no look-ups
	g, err := New(Config{Settings: settings, Directory: f.TempDir()}, false)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, query []byte) {
		answer := g.answer(query)
		if answer == nil {
			return
		}
		var m dnsmessage.Message
		if err := m.Unpack(answer); err != nil || !m.Response || m.ID != uint16(query[0])<<8|uint16(query[1]) {
			t.Errorf("answer to %q: %q, %v", query, answer, err)
		}
		if len(m.Answers) > 1 {
			t.Errorf("answer to %q: %v", query, m)
		}
	})
}

// FuzzHello checks that all bytes that were read to find the name are returned.
func FuzzHello(f *testing.F) {
	a, b := net.Pipe()
	go tls.Client(a, &tls.Config{ServerName: "example.com"}).Handshake()
	buf := make([]byte, 4096)
	n, err := b.Read(buf)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(buf[:n])
	f.Fuzz(func(t *testing.T, hello []byte) {
		name, read, err := readHello(bytes.NewReader(hello))
		if !bytes.HasPrefix(hello, read) {
			t.Errorf("read %q of %q", read, hello)
		}
		if again, err2 := policy.ParseName(name); err == nil && name != "" && (again != name || err2 != nil) {
			t.Errorf("name %q", name)
		}
	})
}

// FuzzHTTP checks that no request reaches the server that is for another name.
func FuzzHTTP(f *testing.F) {
	for _, text := range []string{
		"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n", "GET http://evil.test/ HTTP/1.1\r\nHost: example.com\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: evil.test\r\n\r\n",
	} {
		f.Add([]byte(text))
	}
	settings := vm.Default()
	settings.Network, settings.Allow = policy.Allow, []string{"example.com"}
	g, err := New(Config{Settings: settings, Directory: f.TempDir()}, false)
	if err != nil {
		f.Fatal(err)
	}
	q := policy.Request{Protocol: policy.TCP, Name: "example.com", Port: 80}
	f.Fuzz(func(t *testing.T, text []byte) {
		in, guest := net.Pipe()
		out, server := net.Pipe()
		go func() {
			guest.Write(text)
			guest.Close()
		}()
		received := make(chan []string)
		go func() {
			var hosts []string
			for requests := bufio.NewReader(server); ; {
				r, err := http.ReadRequest(requests)
				if err != nil {
					break
				}
				hosts = append(hosts, r.Host)
				io.Copy(io.Discard, r.Body)
				io.WriteString(server, "HTTP/1.1 204 No Content\r\n\r\n")
			}
			server.Close()
			received <- hosts
		}()
		go io.Copy(io.Discard, guest)
		g.serveHTTP(pipe{in}, out, q, policy.Decision{Allowed: true})
		for _, host := range <-received {
			if name, err := policy.ParseName(hostOf(host)); err != nil || name != q.Name {
				t.Errorf("the server received a request for %q from %q", host, text)
			}
		}
	})
}

// pipe is one end of a net.Pipe.
type pipe struct{ net.Conn }

func (p pipe) CloseWrite() error { return p.Close() }
