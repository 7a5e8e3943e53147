package main

import (
	"bufio"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"godwit/agentapi"
	"godwit/callback"
	"godwit/eim"
	"godwit/iot"
	"godwit/pki"
	"godwit/rsp"
	"godwit/trust"
)

// openEIM opens the eIM: it shares ports, names and trust with the SM-DP+.
// Where production trust is served, test trust counts for nothing.
func (a *app) openEIM(ctx context.Context) error {
	s := a.settings
	roots, err := eimRoots(s.RSP)
	if err != nil {
		return err
	}
	config := eim.Config{
		FQDN: s.SMDPAddress[0], Roots: roots, TLSTrust: eimTLSTrust(s.RSP),
		Dial: callback.Dialer(eimOutgoing(s)), Jobs: a.queue,
		Outcome: a.outcome, Inventory: a.inventory, Seen: a.sighted,
	}
	if s.Field.EIMID != "" {
		config.ID = s.Field.EIMID
	}
	if config.Extra, err = x509.SystemCertPool(); err != nil {
		config.Extra = nil // a minimal machine has none
	}
	if a.eim, err = eim.Open(ctx, a.db, config); err != nil {
		return fmt.Errorf("eIM: %w", err)
	}
	return nil
}

// eimOutgoing is what the eIM may call: what callbacks may, and the SM-DP+ of
// this server itself, wherever its name leads.
func eimOutgoing(s settings) callback.Options {
	o := s.Callbacks
	o.AllowHosts = append(append([]string(nil), o.AllowHosts...), s.SMDPAddress...)
	return o
}

// eimRoots are the CIs of the ports, those of production alone where there are
// any.
func eimRoots(ports []rspListener) (*pki.Roots, error) {
	production := false
	for _, l := range ports {
		production = production || l.Set.Kind == trust.Production
	}
	all, err := pki.NewRoots()
	if err != nil {
		return nil, err
	}
	for _, l := range ports {
		if production && l.Set.Kind != trust.Production {
			continue
		}
		if len(ports) == 1 {
			return l.Set.Roots() // with what the CIs have revoked
		}
		roots, err := l.Set.Roots()
		if err != nil {
			return nil, err
		}
		for _, ci := range roots.Certificates() {
			if err := all.Add(ci); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

// esipaURL is where agents reach the eIM: at the first port, without TLS where a
// proxy has to bring it.
func esipaURL(s settings) string {
	scheme := "https"
	if eimTLSTrust(s.RSP) == nil {
		scheme = "http"
	}
	return scheme + "://" + s.SMDPAddress[0]
}

// eimTLSTrust is what IPAs are to trust at the first port: the CI above its TLS
// certificate.
func eimTLSTrust(ports []rspListener) []byte {
	if len(ports) == 0 {
		return nil // a command that serves nothing
	}
	for _, i := range ports[0].Set.Identities() {
		if i.TLS != nil && i.TLS.Certificate.PublicKey.Curve() == pki.P256 {
			return i.CI.Raw
		}
	}
	return nil
}

// rspDoor serves one port: ES2+ and ES9+ of the SM-DP+, ESipa of the eIM, and our
// agents, who may reach no other port. In
// the ASN.1 binding ES9+ and ESipa share a path, and the first octet of the body
// tells whose it is.
func (a *app) rspDoor(i int) http.Handler {
	dp, manager := a.rsp[i].Handler(), a.eim.Handler()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case agentapi.Paths(r.URL.Path):
			a.agents.ServeHTTP(w, r)
		case strings.HasPrefix(r.URL.Path, iot.PathESipa):
			manager.ServeHTTP(w, r)
		case r.URL.Path == rsp.PathASN1 && r.Method == http.MethodPost:
			body := bufio.NewReaderSize(r.Body, 512)
			first, err := body.Peek(1)
			if err != nil && !errors.Is(err, io.EOF) {
				http.Error(w, "the body could not be read", http.StatusBadRequest)
				return
			}
			r.Body = peeked{body, r.Body}
			if len(first) == 1 && eim.ServesASN1(first[0]) {
				manager.ServeHTTP(w, r)
				return
			}
			dp.ServeHTTP(w, r)
		default:
			dp.ServeHTTP(w, r)
		}
	})
}

// peeked is a body whose first octet was looked at.
type peeked struct {
	io.Reader
	io.Closer
}
