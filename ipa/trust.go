package ipa

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"godwit/lpa"
	"godwit/pki"
)

// Trust says which server is the eIM. One of the first two is
// trustedPublicKeyDataTls of the eIM's configuration; without both the CIs that
// the eUICC knows decide. SGP.32 v1.2, 2.11.1.1.
type Trust struct {
	PublicKey   []byte // SubjectPublicKeyInfo of the server or of a CA, DER
	Certificate []byte // of the server or of a CA, DER

	Roots *pki.Roots     // CIs
	Extra *x509.CertPool // ordinary certification authorities, beside the CIs

	// Dial, if set, makes the connections.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// NewHTTPClient returns a client that keeps connections and talks to the eIM
// alone.
func (t Trust) NewHTTPClient() (*http.Client, error) {
	trust := lpa.Trust{Roots: t.Roots, Extra: t.Extra, Dial: t.Dial}
	switch {
	case t.PublicKey != nil:
		key, err := x509.ParsePKIXPublicKey(t.PublicKey)
		if err != nil {
			return nil, fmt.Errorf("trustedEimPkTls: %w", err)
		}
		trust.Verify = func(host string, chain []*x509.Certificate, now time.Time) error {
			return verifyKey(t.PublicKey, key, host, chain, now)
		}
	case t.Certificate != nil:
		pinned, err := x509.ParseCertificate(t.Certificate)
		if err != nil {
			return nil, fmt.Errorf("trustedCertificateTls: %w", err)
		}
		trust.Verify = func(host string, chain []*x509.Certificate, now time.Time) error {
			if len(chain) > 0 && chain[0].Equal(pinned) {
				return nil
			}
			return verifyBelow(pinned, host, chain, now)
		}
	case t.Roots == nil && t.Extra == nil:
		return nil, errors.New("nothing says which TLS certificate the eIM has: its configuration pins no key, and there are no certificates of CIs")
	}
	return lpa.NewHTTPClient(trust), nil
}

var errNoCertificate = errors.New("the eIM presented no certificate")

// verifyKey accepts the server that has the key, whatever its certificate says,
// and servers certified by it, under the ordinary rules.
func verifyKey(spki []byte, key any, host string, chain []*x509.Certificate, now time.Time) error {
	if len(chain) == 0 {
		return errNoCertificate
	}
	for i, c := range chain {
		if !bytes.Equal(c.RawSubjectPublicKeyInfo, spki) {
			continue
		}
		if i == 0 {
			return nil
		}
		return verifyBelow(c, host, chain, now)
	}
	// The CA's own certificate need not be sent.
	last := chain[len(chain)-1]
	ca := &x509.Certificate{PublicKey: key}
	if err := ca.CheckSignature(last.SignatureAlgorithm, last.RawTBSCertificate, last.Signature); err != nil {
		return errors.New("the eIM has another key than its configuration pins, and is not certified by it")
	}
	return verifyBelow(last, host, chain, now)
}

// verifyBelow holds the server's certificate to the ordinary rules, with ca as
// the root.
func verifyBelow(ca *x509.Certificate, host string, chain []*x509.Certificate, now time.Time) error {
	if len(chain) == 0 {
		return errNoCertificate
	}
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(ca)
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{DNSName: host, Roots: roots, Intermediates: between, CurrentTime: now})
	return err
}
