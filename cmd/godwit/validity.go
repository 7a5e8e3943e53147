package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"godwit/pki"
	"godwit/trust"
)

// validity is how often a running server looks at the dates of its certificates.
const validity = 24 * time.Hour

var expiry = promauto.NewGaugeVec(prometheus.GaugeOpts{
	Name: "godwit_certificate_expiry_timestamp_seconds",
	Help: "When a certificate that this server shows expires, in seconds since 1970.",
}, []string{"set", "ci", "role"})

// watchCertificates says at the start and then daily which of the server's own
// certificates end soon or have ended, until ctx is over. A running server goes
// on with one that has ended: it would help nobody to close the port, and what is
// under way may not need that certificate any more.
func watchCertificates(ctx context.Context, sets []*trust.Set) error {
	sets = slices.Clone(sets)
	slices.SortFunc(sets, func(x, y *trust.Set) int { return strings.Compare(x.Name, y.Name) })
	sets = slices.CompactFunc(sets, func(x, y *trust.Set) bool { return x.Name == y.Name }) // several ports may serve one
	tick := time.NewTicker(validity)
	defer tick.Stop()
	for {
		for _, set := range sets {
			tellValidity(set, time.Now())
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func tellValidity(set *trust.Set, now time.Time) {
	for _, m := range set.Members {
		for _, c := range shown(m) {
			role, left := c.Role().String(), c.NotAfter.Sub(now)
			expiry.WithLabelValues(set.Name, m.Name, role).Set(float64(c.NotAfter.Unix()))
			what := []any{"set", set.Name, "ci", m.Name, "certificate", role, "until", c.NotAfter.UTC().Format(time.RFC3339), "remedy", remedy(set, m, c)}
			switch {
			case left < 0:
				slog.Error("a certificate of this server has expired: peers refuse it, and the server will not start with it again", what...)
			case left < soon:
				slog.Warn("a certificate of this server expires soon", what...)
			}
		}
	}
}

// expired refuses to start with a certificate that has ended.
func expired(set *trust.Set, now time.Time) error {
	for _, m := range set.Members {
		for _, c := range shown(m) {
			if now.After(c.NotAfter) {
				return fmt.Errorf("set %s, CI %s: certificate %s expired at %s: %s",
					set.Name, m.Name, c.Role(), c.NotAfter.UTC().Format(time.RFC3339), remedy(set, m, c))
			}
		}
	}
	return nil
}

// shown are the certificates that a server stands for at a CI.
func shown(m *trust.Member) []*pki.Certificate {
	all := []*pki.Certificate{m.Identity.CI}
	for _, c := range m.Credentials() {
		all = append(all, c.Certificate)
	}
	return all
}

// remedy is what to do about a certificate that ends.
func remedy(set *trust.Set, m *trust.Member, c *pki.Certificate) string {
	switch {
	case m.Issuer == nil:
		return fmt.Sprintf("get a new one from its CI, `godwit pki import --set %s --replace`, and start again", set.Name)
	case c.Role() == pki.DPTLS:
		return fmt.Sprintf("`godwit pki issue tls --set %s %s` and start again", set.Name, strings.Join(hostsOf(c), " "))
	}
	return "make another set with `godwit pki init`, serve that, and make chips anew"
}
