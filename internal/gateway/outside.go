package gateway

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/t0mpr1c3/claude-microvm/internal/policy"
	"golang.org/x/net/http/httpproxy"
)

const (
	// dialTimeout limits the attempt to connect to one address.
	dialTimeout = 10 * time.Second
	// lookupAge is how long a look-up is used again. The guest connects right after its
	// query, and the same look-up serves both.
	lookupAge = 10 * time.Second
	// prefixAge is how long the addresses of the host's interfaces are used again.
	prefixAge = time.Second
)

// outside is the host's network: its resolver, its proxy, its interfaces.
type outside struct {
	proxy func(*url.URL) (*url.URL, error)
	tls   *tls.Config
	// The three system calls; tests replace them.
	resolve    func(ctx context.Context, network, name string) ([]netip.Addr, error)
	open       func(ctx context.Context, network, address string) (net.Conn, error)
	interfaces func() ([]net.Addr, error)

	mu         sync.Mutex
	lookups    map[string]lookup
	prefixes   []netip.Prefix
	prefixTime time.Time
}

type lookup struct {
	addresses []netip.Addr
	time      time.Time
}

// newOutside uses proxy, a URL, or else the proxy in the environment, as in $HTTPS_PROXY and
// $NO_PROXY. The certificates in extraCA are trusted like those of the system.
func newOutside(proxy string, extraCA []byte) (*outside, error) {
	config := httpproxy.FromEnvironment()
	if proxy != "" {
		config.HTTPProxy, config.HTTPSProxy = proxy, proxy
	}
	dialer := net.Dialer{Timeout: dialTimeout}
	o := &outside{
		proxy: config.ProxyFunc(), tls: &tls.Config{}, lookups: map[string]lookup{},
		resolve: net.DefaultResolver.LookupNetIP, open: dialer.DialContext, interfaces: net.InterfaceAddrs,
	}
	if len(extraCA) > 0 {
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		pool.AppendCertsFromPEM(extraCA)
		o.tls.RootCAs = pool
	}
	return o, nil
}

// own returns the prefixes of the host's interfaces. All of a point-to-point link or a
// tunnel that covers the Internet is no neighbour.
func (o *outside) own() []netip.Prefix {
	o.mu.Lock()
	defer o.mu.Unlock()
	if time.Since(o.prefixTime) < prefixAge {
		return o.prefixes
	}
	addresses, err := o.interfaces()
	if err != nil {
		fmt.Fprintf(os.Stderr, "addresses of this machine: %v\n", err)
		return o.prefixes
	}
	o.prefixes = o.prefixes[:0:0]
	for _, a := range addresses {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			if p.Bits() < 8 {
				p = netip.PrefixFrom(p.Addr(), p.Addr().BitLen())
			}
			o.prefixes = append(o.prefixes, p.Masked())
		}
	}
	o.prefixTime = time.Now()
	return o.prefixes
}

// lookup returns the addresses of a name from the host's resolver, IPv4 first: a host
// without a route reports that at once, and IPv6 fails slowly more often.
func (o *outside) lookup(ctx context.Context, name string) ([]netip.Addr, error) {
	o.mu.Lock()
	l, found := o.lookups[name]
	o.mu.Unlock()
	if found && time.Since(l.time) < lookupAge {
		return l.addresses, nil
	}
	if a, err := netip.ParseAddr(name); err == nil {
		return []netip.Addr{a}, nil
	}
	rooted := name
	if strings.Contains(name, ".") {
		rooted += "." // the host's search domains are only for names without a dot
	}
	addresses, err := o.resolve(ctx, "ip", rooted)
	if err != nil {
		return nil, err
	}
	for i := range addresses {
		addresses[i] = addresses[i].Unmap()
	}
	slices.SortStableFunc(addresses, func(a, b netip.Addr) int { return cmp.Compare(a.BitLen(), b.BitLen()) })
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.lookups) > 1000 {
		clear(o.lookups)
	}
	o.lookups[name] = lookup{addresses, time.Now()}
	return addresses, nil
}

// proxyFor returns the proxy for connections to a host; nil if there is none.
func (o *outside) proxyFor(host string, port uint16) *url.URL {
	u, err := o.proxy(&url.URL{Scheme: "https", Host: net.JoinHostPort(host, strconv.Itoa(int(port)))})
	if err != nil {
		return nil
	}
	return u
}

// shown returns the proxy without its password; empty if there is none.
func (o *outside) shown() string {
	if u := o.proxyFor("example.com", 443); u != nil {
		return u.Redacted()
	}
	return ""
}

// deniedError is the error of a connection that the policy denies.
type deniedError struct{ policy.Decision }

func (e *deniedError) Error() string { return e.Reason }

// dial connects to a name or an address. judge decides about each address of a name. The
// returned request has the address, unless a proxy resolves the name.
func (o *outside) dial(ctx context.Context, q policy.Request, judge func(policy.Request) policy.Decision) (net.Conn, policy.Request, error) {
	var addresses []netip.Addr
	var proxy *url.URL
	switch {
	case q.Name == policy.HostName:
		addresses = []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()}
	case q.Name == "":
		addresses = []netip.Addr{q.Address}
	default:
		proxy = o.proxyFor(q.Name, q.Port)
		var err error
		if addresses, err = o.lookup(ctx, q.Name); err != nil && proxy == nil {
			return nil, q, err
		}
	}
	if q.Name == "" {
		proxy = o.proxyFor(q.Address.String(), q.Port)
	}
	if q.Protocol != policy.TCP {
		proxy = nil
	}
	if len(addresses) == 0 && proxy != nil {
		if d := judge(q); !d.Allowed {
			return nil, q, &deniedError{d}
		}
		c, err := o.connect(ctx, proxy, q)
		return c, q, err
	}
	var denied, failed error
	for _, a := range addresses {
		q.Address = a
		if d := judge(q); !d.Allowed {
			denied = &deniedError{d}
			continue
		}
		var c net.Conn
		var err error
		if proxy != nil && q.Name != policy.HostName && policy.Public(policy.Embedded(a)) {
			c, err = o.connect(ctx, proxy, q)
		} else {
			c, err = o.open(ctx, q.Protocol, netip.AddrPortFrom(a, q.Port).String())
		}
		if err == nil {
			return c, q, nil
		}
		failed = cmp.Or(failed, err)
	}
	return nil, q, cmp.Or(failed, denied, errors.New("the name has no address"))
}

// connect connects through an HTTP proxy.
func (o *outside) connect(ctx context.Context, proxy *url.URL, q policy.Request) (net.Conn, error) {
	port := cmp.Or(proxy.Port(), map[string]string{"https": "443"}[proxy.Scheme], "80")
	c, err := o.open(ctx, "tcp", net.JoinHostPort(proxy.Hostname(), port))
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	c.SetDeadline(time.Now().Add(dialTimeout))
	if proxy.Scheme == "https" {
		config := o.tls.Clone()
		config.ServerName, config.NextProtos = proxy.Hostname(), nil
		c = tls.Client(c, config)
	}
	host := cmp.Or(q.Name, q.Address.String())
	target := net.JoinHostPort(host, strconv.Itoa(int(q.Port)))
	request := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: target}, Host: target, Header: http.Header{}}
	if u := proxy.User; u != nil {
		password, _ := u.Password()
		request.Header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(u.Username()+":"+password)))
	}
	in := bufio.NewReader(c)
	response, err := new(http.Response), request.Write(c)
	if err == nil {
		response, err = http.ReadResponse(in, request)
	}
	if err == nil && response.StatusCode != http.StatusOK {
		err = errors.New(response.Status)
	}
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("proxy %s: %w", proxy.Redacted(), err)
	}
	c.SetDeadline(time.Time{})
	if in.Buffered() == 0 {
		return c, nil
	}
	return &bufferedConn{c, in}, nil
}

// bufferedConn is a connection of which a part is already read.
type bufferedConn struct {
	net.Conn
	in *bufio.Reader
}

func (c *bufferedConn) Read(p []byte) (int, error) { return c.in.Read(p) }

func (c *bufferedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Conn.Close()
}
