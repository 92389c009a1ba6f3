package gateway

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/t0mpr1c3/claude-microvm/internal/failure"
	"github.com/t0mpr1c3/claude-microvm/internal/policy"
)

// Check connects to an API from this machine, as the gateway of a VM does, and returns how it
// is reached. The hint of the error is how to fix it.
func Check(ctx context.Context, api, proxy string, extraCA []byte) (string, error) {
	u, err := url.Parse(api)
	if err != nil || u.Hostname() == "" {
		return "", fmt.Errorf("%s is not a URL", api)
	}
	o, err := newOutside(proxy, extraCA)
	if err != nil {
		return "", err
	}
	q := policy.Request{Protocol: policy.TCP, Name: u.Hostname(), Port: 443}
	if u.Scheme == "http" {
		q.Port = 80
	}
	if port, err := strconv.ParseUint(u.Port(), 10, 16); err == nil {
		q.Port = uint16(port)
	}
	began := time.Now()
	any := func(policy.Request) policy.Decision { return policy.Decision{Allowed: true} }
	c, q, err := o.dial(ctx, q, any)
	if err != nil {
		return "", failure.New(failure.Failed, "check the network with 'resolvectl query "+q.Name+"'; behind a proxy, set Proxy= in defaults.conf", "cannot connect to %s: %w", q.Name, err)
	}
	defer c.Close()
	if u.Scheme == "https" {
		config := o.tls.Clone()
		config.ServerName = q.Name
		var unknown x509.UnknownAuthorityError
		err := tls.Client(c, config).HandshakeContext(ctx)
		switch {
		case errors.As(err, &unknown):
			return "", failure.New(failure.Failed, "set ExtraCA= in defaults.conf to the certificates of your network", "%s: %w", q.Name, err)
		case err != nil:
			return "", fmt.Errorf("%s: %w", q.Name, err)
		}
	}
	fact := fmt.Sprintf("%s answers in %d ms", q.Name, time.Since(began).Milliseconds())
	if p := o.proxyFor(q.Name, q.Port); p != nil {
		fact += " through " + p.Redacted()
	}
	return fact, nil
}
