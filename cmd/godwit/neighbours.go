package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"slices"

	"godwit/db"
	"godwit/rsp"
	"godwit/sim"
	"godwit/smdp"
	"godwit/trust"
)

// preparer is the SM-DP+ in this process as the domain sees one: ES2+ as Go
// calls of the local operator.
type preparer struct{ server *smdp.Server }

func (p preparer) DownloadOrder(ctx context.Context, calls []rsp.DownloadOrder) ([]rsp.DownloadOrderResult, error) {
	return p.server.DownloadOrders(ctx, smdp.LocalOperator, calls)
}

func (p preparer) ConfirmOrder(ctx context.Context, calls []rsp.ConfirmOrder) ([]rsp.ConfirmOrderResult, error) {
	return p.server.ConfirmOrders(ctx, smdp.LocalOperator, calls)
}

func (p preparer) ReleaseProfile(ctx context.Context, calls []rsp.ReleaseProfile) ([]rsp.ReleaseProfileResult, error) {
	return p.server.ReleaseProfiles(ctx, smdp.LocalOperator, calls)
}

func (p preparer) CancelOrder(ctx context.Context, calls []rsp.CancelOrder) ([]rsp.CancelOrderResult, error) {
	return p.server.CancelOrders(ctx, smdp.LocalOperator, calls)
}

// HandOut is the short way of the same: the SM-DP+ shares the domain's database.
func (p preparer) HandOut(ctx context.Context, tx *db.Tx, wants []sim.Want) (map[int]sim.Handed, error) {
	asked := make([]smdp.Want, len(wants))
	for i, w := range wants {
		asked[i] = smdp.Want(w)
	}
	given, err := p.server.HandOut(ctx, tx, asked)
	ready := make(map[int]sim.Handed, len(given))
	for i, r := range given {
		ready[i] = sim.Handed(r)
	}
	return ready, err
}

// outgoing is how this process shows itself to SM-DSs and operators' systems,
// and whom it believes there.
type outgoing struct {
	config      *tls.Config
	certificate *tls.Certificate
}

// clientTrust makes it of the sets that are served: their CIs are believed
// beside the system's roots, and the TLS certificate of the first is shown. Where
// production trust is served, test trust counts for nothing.
func clientTrust(sets []*trust.Set) (outgoing, error) {
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool() // a minimal machine has none
	}
	production := slices.ContainsFunc(sets, func(s *trust.Set) bool { return s.Kind == trust.Production })
	out := outgoing{config: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	for _, set := range sets {
		if production && set.Kind != trust.Production {
			continue
		}
		for _, m := range set.Members {
			pool.AppendCertsFromPEM(m.Identity.CI.PEM())
			if c := m.Identity.TLS; c != nil && out.certificate == nil {
				out.certificate = &tls.Certificate{Certificate: [][]byte{c.Certificate.Raw}, PrivateKey: c.Key}
			}
		}
	}
	return out, nil
}

// stock is the SM-DP+'s stock as orders of many see it.
type stock struct{ server *smdp.Server }

func (s stock) InStock(ctx context.Context, profileType string, limit int64) (n int64, known bool, err error) {
	if known, err = s.server.HasType(ctx, profileType); err != nil || !known {
		return 0, false, err
	}
	count, err := s.server.InStock(ctx, profileType, int(limit))
	return int64(count), true, err
}
