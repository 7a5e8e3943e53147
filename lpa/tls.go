package lpa

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"godwit/pki"
)

// Trust says which servers an HTTP client talks to.
type Trust struct {
	// Roots are the CIs whose TLS certificates are accepted, for SM-DP+ and
	// SM-DS: role, host name and validity are checked. SGP.22 v2.5, 2.6.6.
	Roots *pki.Roots

	// Extra are ordinary certification authorities that are accepted besides,
	// with the ordinary rules: for laboratories with a proxy in between.
	Extra *x509.CertPool

	// Verify, if set, judges the server in place of Roots and Extra. The chain is
	// as the server presented it and may be empty.
	Verify func(host string, chain []*x509.Certificate, now time.Time) error

	// Dial, if set, makes the connections, so that a server can be reached
	// under a name that no DNS knows.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// NewHTTPClient returns a client that keeps connections and verifies servers as
// an LPA does. It can be shared by many assistants.
func NewHTTPClient(t Trust) *http.Client {
	dial := t.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: 10 * time.Second}).DialContext
	}
	sessions := tls.NewLRUClientSessionCache(64)
	return &http.Client{
		Timeout: 60 * time.Second,
		Transport: &http.Transport{
			Proxy:               nil,
			MaxIdleConnsPerHost: 256,
			IdleConnTimeout:     90 * time.Second,
			DialTLSContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				host, _, err := net.SplitHostPort(address)
				if err != nil {
					return nil, err
				}
				plain, err := dial(ctx, network, address)
				if err != nil {
					return nil, err
				}
				conn := tls.Client(plain, t.config(host, sessions))
				if err := conn.HandshakeContext(ctx); err != nil {
					return nil, errors.Join(fmt.Errorf("TLS with %s: %w", host, err), plain.Close())
				}
				return conn, nil
			},
		},
		// A server of SGP.22 has one address; a redirect is none of its answers.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func (t *Trust) config(host string, sessions tls.ClientSessionCache) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ServerName:         host,
		ClientSessionCache: sessions,
		// The library knows neither the roles nor the name rules of SGP.22. We
		// verify ourselves, for resumed sessions too.
		InsecureSkipVerify: true,
		VerifyConnection:   func(s tls.ConnectionState) error { return t.verify(host, s.PeerCertificates, time.Now()) },
	}
}

// verify judges the certificates that a server presented.
func (t *Trust) verify(host string, chain []*x509.Certificate, now time.Time) error {
	if t.Verify != nil {
		return t.Verify(host, chain, now)
	}
	if len(chain) == 0 {
		return errors.New("the server presented no certificate")
	}
	var problem error = errors.New("no certificate of a CI is trusted")
	if t.Roots != nil {
		_, err := t.Roots.VerifyTLS(0, chain[0].Raw, host, now)
		if err == nil {
			return nil
		}
		problem = err
	}
	if t.Extra == nil {
		return problem
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{DNSName: host, Roots: t.Extra, Intermediates: between, CurrentTime: now})
	if err != nil {
		return fmt.Errorf("%w; by the rules of SGP.22: %w", err, problem)
	}
	return nil
}
