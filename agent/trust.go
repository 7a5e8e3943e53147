package agent

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"time"

	"godwit/ipa"
	"godwit/lpa"
	"godwit/pki"
)

// trusted is who is believed to be a server.
type trusted struct {
	roots *pki.Roots     // CIs
	cis   int            // how many
	given *x509.CertPool // what was named
	all   *x509.CertPool // that and the system's
	dial  func(ctx context.Context, network, address string) (net.Conn, error)
}

// readTrust reads the certificates that were named. Each is a CI, an ordinary
// authority, or both.
func readTrust(files []string, connect string) (*trusted, error) {
	t := &trusted{given: x509.NewCertPool()}
	var err error
	if t.all, err = x509.SystemCertPool(); err != nil {
		t.all = x509.NewCertPool() // a device without any
	}
	if t.roots, err = pki.NewRoots(); err != nil {
		return nil, err
	}
	for _, name := range files {
		content, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		if err := t.add(content); err != nil {
			return nil, fmt.Errorf("--ca %s: %w", name, err)
		}
	}
	if connect != "" {
		t.dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, network, connect)
		}
	}
	return t, nil
}

func (t *trusted) add(content []byte) error {
	found := false
	for block, rest := pem.Decode(content); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		certificate, err := pki.ParseCertificate(block.Bytes)
		if err == nil {
			err = t.addCI(certificate)
		}
		ordinary, other := x509.ParseCertificate(block.Bytes)
		if other == nil {
			t.given.AddCert(ordinary)
			t.all.AddCert(ordinary)
		}
		if err != nil && other != nil {
			return err
		}
		found = true
	}
	if !found {
		return fmt.Errorf("no certificate in PEM in it")
	}
	return nil
}

// addCI accepts servers of a CI.
func (t *trusted) addCI(c *pki.Certificate) error {
	if err := t.roots.Add(c); err != nil {
		return err
	}
	t.cis++
	return nil
}

// api is for the server's API, which has any certificate.
func (t *trusted) api() lpa.Trust {
	return lpa.Trust{Roots: t.roots, Extra: t.all, Dial: t.dial}
}

// smdp is for SM-DP+s.
func (t *trusted) smdp() lpa.Trust {
	return lpa.Trust{Roots: t.roots, Extra: t.given, Dial: t.dial}
}

// eim is for the eIM, where its configuration pins no key.
func (t *trusted) eim() ipa.Trust {
	return ipa.Trust{Roots: t.roots, Extra: t.all, Dial: t.dial}
}
