// internet is the servers of a small Internet, for tests of the gateway: DNS, HTTP, HTTPS with
// a CA of its own, git, npm, the Anthropic API, an echo service and a proxy with a password.
package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/cgi"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/t0mpr1c3/claude-microvm/internal/relay"
	"github.com/t0mpr1c3/claude-microvm/test/anthropic"
	"golang.org/x/net/dns/dnsmessage"
)

// names are all names of the Internet.
var names = map[string][]string{
	"example.com.":       {"93.184.216.34", "2606:2800::34"},
	"other.test.":        {"93.184.216.35"},
	"six.test.":          {"2606:2800::34"},
	"git.test.":          {"93.184.216.34"},
	"npm.test.":          {"93.184.216.34"},
	"api.anthropic.com.": {"93.184.216.35"},
	// Where Claude Code exchanges the code of a login for a token.
	"platform.claude.com.": {"93.184.216.35"},
	"intranet.test.":       {"10.50.0.5"},
	"lan.test.":            {"192.168.77.2"},
	"loopback.test.":       {"127.0.0.1"},
	"host.test.":           {"100.100.0.1"},
	"meta.test.":           {"169.254.169.254"},
}

// accounts is what Claude Code asks for when the user signs in, besides the token.
var accounts = map[string]string{
	"/api/hello": `{"message": "hello"}`,
	"/api/oauth/profile": `{"account": {"uuid": "00000000-0000-4000-8000-000000000001", "email": "ada@work.example", "display_name": "Ada", "has_claude_max": true},
		"organization": {"uuid": "00000000-0000-4000-8000-000000000002", "name": "Work", "organization_type": "claude_max", "rate_limit_tier": "default_claude_max_5x"}}`,
	"/api/oauth/claude_cli/roles": `{"organization_role": "admin", "workspace_role": null, "organization_name": "Work"}`,
}

// token is what platform.claude.com issues. It has the length of a real one.
const token = "sk-ant-oat01-test-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789_00"

// proxied are names that only the proxy knows.
var proxied = map[string]string{"proxied.test:443": "93.184.216.34:443", "proxied.test:80": "93.184.216.34:80"}

func main() {
	go echo()
	if len(os.Args) > 1 {
		go func() { log.Fatal(datagrams(":53", resolve)) }()
		go func() { log.Fatal(datagrams("93.184.216.34:123", func(p []byte) []byte { return p })) }()
		go proxy()
		ca := newAuthority()
		api := anthropic.New()
		go func() {
			l, err := tls.Listen("tcp", ":443", &tls.Config{GetCertificate: ca.certificate, NextProtos: []string{"h2", "http/1.1"}})
			if err != nil {
				log.Fatal(err)
			}
			s := http.Server{Handler: handler(api), TLSConfig: &tls.Config{NextProtos: []string{"h2", "http/1.1"}}}
			log.Fatal(s.Serve(l))
		}()
		if err := os.WriteFile(os.Args[1], ca.pem, 0o644); err != nil {
			log.Fatal(err)
		}
	}
	if len(os.Args) == 1 {
		go func() { log.Fatal(datagrams(":53", captive)) }()
	}
	log.Fatal(http.ListenAndServe(":80", handler(nil)))
}

// mirror has a part of Debian's archive below the names of its hosts; see test/mirror.
const mirror = "/srv/debian"

// isMirrored reports whether a host of Debian's archive is in the mirror.
func isMirrored(host string) bool {
	_, err := os.Stat(filepath.Join(mirror, filepath.Base(host)))
	return err == nil && host != ""
}

// handler answers with what it has received. api.anthropic.com is the API, git.test has
// repositories that need a password.
func handler(api http.Handler) http.Handler {
	git := &cgi.Handler{
		Path: "/usr/lib/git-core/git-http-backend",
		Env:  []string{"GIT_PROJECT_ROOT=/srv/git", "GIT_HTTP_EXPORT_ALL=1", "REMOTE_USER=test"},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := strings.Cut(r.Host, ":")
		switch {
		case host == "api.anthropic.com" && accounts[r.URL.Path] != "":
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, accounts[r.URL.Path])
		case host == "api.anthropic.com" && api != nil:
			api.ServeHTTP(w, r)
		case host == "platform.claude.com" && r.URL.Path == "/v1/oauth/token":
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"token_type":"Bearer","access_token":"%s","refresh_token":"sk-ant-ort01-test","expires_in":31536000,"scope":"user:inference user:profile"}`, token)
		case host == "npm.test":
			registry(w, r)
		case isMirrored(host):
			http.FileServer(http.Dir(filepath.Join(mirror, host))).ServeHTTP(w, r)
		case host == "git.test" && r.TLS != nil:
			if _, password, _ := r.BasicAuth(); password != "git-token-0123456789" {
				w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
				http.Error(w, "no", http.StatusUnauthorized)
				return
			}
			git.ServeHTTP(w, r)
		default:
			fmt.Fprintf(w, "%s at %v\n", r.Host, r.Context().Value(http.LocalAddrContextKey))
		}
	})
}

func echo() {
	l, err := net.Listen("tcp", ":7")
	if err != nil {
		log.Fatal(err)
	}
	for {
		c, err := l.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go func() {
			defer c.Close()
			io.Copy(c, c)
		}()
	}
}

// datagrams answers datagrams at an address.
func datagrams(address string, answer func([]byte) []byte) error {
	c, err := net.ListenPacket("udp", address)
	if err != nil {
		return err
	}
	buf := make([]byte, 1<<16)
	for {
		n, from, err := c.ReadFrom(buf)
		if err != nil {
			return err
		}
		if text := answer(buf[:n]); text != nil {
			c.WriteTo(text, from)
		}
	}
}

// captive answers a DNS query as the resolver of a network does that wants a login first: each name has
// the address of the login's server, in the local network.
func captive(query []byte) []byte {
	return answer(query, func(string) ([]string, bool) { return []string{"192.168.77.2"}, true })
}

// resolve answers a DNS query.
func resolve(query []byte) []byte {
	return answer(query, func(name string) ([]string, bool) {
		if isMirrored(strings.TrimSuffix(name, ".")) {
			return names["example.com."][:1], true
		}
		addresses, found := names[name]
		return addresses, found
	})
}

func answer(query []byte, lookup func(name string) (addresses []string, found bool)) []byte {
	var m dnsmessage.Message
	if m.Unpack(query) != nil || len(m.Questions) != 1 {
		return nil
	}
	q := m.Questions[0]
	log.Printf("query %v %v", q.Type, q.Name)
	reply := dnsmessage.Message{Header: dnsmessage.Header{ID: m.ID, Response: true, RecursionAvailable: true}, Questions: m.Questions}
	addresses, found := lookup(strings.ToLower(q.Name.String()))
	if !found {
		reply.RCode = dnsmessage.RCodeNameError
	}
	h := dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 1}
	for _, text := range addresses {
		switch ip := net.ParseIP(text); {
		case q.Type == dnsmessage.TypeA && ip.To4() != nil:
			reply.Answers = append(reply.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AResource{A: [4]byte(ip.To4())}})
		case q.Type == dnsmessage.TypeAAAA && ip.To4() == nil:
			reply.Answers = append(reply.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AAAAResource{AAAA: [16]byte(ip.To16())}})
		}
	}
	text, err := reply.Pack()
	if err != nil {
		return nil
	}
	return text
}

// proxy is an HTTP proxy for CONNECT only, with a user and a password.
func proxy() {
	l, err := net.Listen("tcp", ":3128")
	if err != nil {
		log.Fatal(err)
	}
	for {
		c, err := l.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go func() {
			in := bufio.NewReader(c)
			r, err := http.ReadRequest(in)
			target := ""
			if err == nil {
				target = proxied[r.Host]
			}
			switch {
			case err != nil || r.Method != http.MethodConnect || target == "":
				io.WriteString(c, "HTTP/1.1 403 Forbidden\r\n\r\n")
			case r.Header.Get("Proxy-Authorization") != "Basic dXNlcjpwYXNzd29yZA==": // user:password
				io.WriteString(c, "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
			default:
				if out, err := net.Dial("tcp", target); err == nil {
					io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
					relay.Join(c.(*net.TCPConn), out.(*net.TCPConn))
					return
				}
			}
			c.Close()
		}()
	}
}

// authority is a CA.
type authority struct {
	key    *ecdsa.PrivateKey
	parent *x509.Certificate
	pem    []byte
}

func newAuthority() *authority {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test CA"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		log.Fatal(err)
	}
	return &authority{key, template, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

// certificate makes a certificate for the name that a client asks for.
func (a *authority) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(0, 1, 0),
		DNSNames: []string{hello.ServerName}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.parent, &a.key.PublicKey, a.key)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: a.key}, err
}
