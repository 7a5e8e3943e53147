package eim

import (
	"context"
	"fmt"

	"godwit/db"
	"godwit/ident"
	"godwit/iot"
	"godwit/pki"
	"godwit/rsp"
)

// A verifier verifies what devices bring and remembers the verdicts, so that what
// was verified before a transaction need not be while everybody waits for the
// writer. A verdict is remembered by all that it depends on: where the key or the
// association token has changed meanwhile, the transaction verifies by itself. It
// serves one request.
type verifier struct {
	server   *Server
	verdicts map[matter]any
}

func (s *Server) verifier() *verifier { return &verifier{s, map[matter]any{}} }

// A matter is what a verdict depends on, the time and the trusted CIs aside.
type matter struct{ what, octets, key string }

// matterOf is that of octets that a key is to have signed; nil is none.
func matterOf(what string, octets []byte, key *pki.PublicKey) matter {
	m := matter{what: what, octets: string(octets)}
	if key != nil {
		m.key = fmt.Sprintf("%d %x", key.Curve(), key.Bytes())
	}
	return m
}

type verdict[T any] struct {
	value T
	err   error
}

// verdictOn returns what verify finds, or has found.
func verdictOn[T any](v *verifier, m matter, verify func() (T, error)) (T, error) {
	if known, ok := v.verdicts[m].(verdict[T]); ok {
		return known.value, known.err
	}
	value, err := verify()
	v.verdicts[m] = verdict[T]{value, err}
	return value, err
}

// result verifies an eUICC package result.
func (v *verifier) result(der []byte, key *pki.PublicKey, token *int64) (*iot.PackageResult, error) {
	m := matterOf("result", der, key)
	if token != nil {
		m.what = fmt.Sprintf("result over token %d", *token)
	}
	return verdictOn(v, m, func() (*iot.PackageResult, error) { return iot.VerifyPackageResult(der, key, token) })
}

// installation verifies a profile installation result.
func (v *verifier) installation(n *rsp.PendingNotification, key *pki.PublicKey) (*rsp.InstallationResult, error) {
	return verdictOn(v, matterOf("installation", n.Raw, key), func() (*rsp.InstallationResult, error) { return n.VerifyInstallation(key) })
}

// chain verifies an eUICC's certificates.
func (v *verifier) chain(eum, euicc []byte) (*pki.Chain, error) {
	return verdictOn(v, matter{"chain", string(euicc), string(eum)}, func() (*pki.Chain, error) {
		return v.server.cfg.Roots.VerifyEUICC(eum, euicc, nil, v.server.cfg.Now())
	})
}

// notification checks a notification: an installation result with the key of the
// eUICC that the eIM knows, any other with the certificates that it brings.
func (v *verifier) notification(n *rsp.PendingNotification, key *pki.PublicKey) error {
	if err := rsp.CheckAddress(n.Metadata.Address); err != nil {
		return err
	}
	if n.Installation {
		if key == nil {
			return fmt.Errorf("no certificate of the eUICC is known that could prove it")
		}
		_, err := v.installation(n, key)
		return err
	}
	chain, err := v.chain(n.EUMCertificate, n.EUICCCertificate)
	if err != nil {
		return err
	}
	_, err = verdictOn(v, matterOf("notification", n.Raw, chain.EUICC.PublicKey), func() (struct{}, error) {
		_, err := n.VerifyOther(chain.EUICC.PublicKey)
		return struct{}{}, err
	})
	return err
}

// A brought is what an IPA's answer has for a verifier.
type brought struct {
	eid           ident.EID // "": whose the task is
	transaction   []byte
	results       [][]byte
	installations [][]byte
	notifications [][]byte
	eum, euicc    []byte // certificates
}

func broughtBy(q *iot.ProvideEimPackageResult) brought {
	b := brought{eid: q.EID, notifications: q.Notifications}
	switch {
	case q.PackageResult != nil:
		b.results = [][]byte{q.PackageResult}
		if head, err := iot.ReadResultHeader(q.PackageResult); err == nil {
			b.transaction = head.TransactionID
		}
	case q.DataResponse != nil:
		if d, err := iot.ParseDataResponse(q.DataResponse); err == nil {
			b.transaction, b.results, b.eum, b.euicc = d.TransactionID, d.Results, d.EUMCertificate, d.EUICCCertificate
			b.notifications = append(b.notifications[:len(b.notifications):len(b.notifications)], d.Notifications...)
		}
	case q.DownloadResult != nil:
		if d, err := iot.ParseDownloadResult(q.DownloadResult); err == nil && len(d.Installation) > 0 {
			b.transaction, b.installations = d.TransactionID, [][]byte{d.Installation}
		}
	}
	return b
}

// foresee verifies what an answer brings by what is known of its eUICC now. What
// it does not foresee, the transaction verifies.
func (s *Server) foresee(ctx context.Context, b brought) (*verifier, error) {
	v := s.verifier()
	var e *euicc
	notifications := make([][]byte, len(b.notifications)) // as they are without compaction
	err := s.db.Read(ctx, func(q db.Query) error {
		if b.eid == "" {
			t, err := s.taskByTransaction(ctx, q, b.transaction)
			if err != nil || t == nil {
				return err
			}
			b.eid = t.eid
		}
		var err error
		if e, err = readEUICC(ctx, q, b.eid, ""); err != nil || e == nil {
			return err
		}
		for i, raw := range b.notifications {
			if notifications[i], err = s.whole(ctx, q, raw, e.parts()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || e == nil {
		return v, err
	}
	if len(b.euicc) > 0 {
		v.chain(b.eum, b.euicc)
	}
	if key, _, err := e.key(); err == nil && key != nil {
		for _, der := range b.results {
			if head, err := iot.ReadResultHeader(der); err == nil && !head.Unsigned && head.EimID == s.cfg.ID {
				v.result(der, key, e.tokenValue())
			}
		}
	}
	key, err := e.chipKey()
	if err != nil {
		return v, nil // the transaction says so
	}
	for _, pir := range b.installations {
		if n, err := rsp.ParsePendingNotification(pir); err == nil && n.Installation && key != nil {
			v.installation(n, key)
		}
	}
	for _, whole := range notifications {
		if n, err := rsp.ParsePendingNotification(whole); err == nil {
			v.notification(n, key)
		}
	}
	return v, nil
}

// foreseeNotification is foresee for a notification that comes alone.
func (s *Server) foreseeNotification(ctx context.Context, raw []byte) (*verifier, error) {
	v := s.verifier()
	var n *rsp.PendingNotification
	var key *pki.PublicKey
	err := s.db.Read(ctx, func(q db.Query) error {
		e, err := readEUICC(ctx, q, compactEID(raw), "")
		if err != nil {
			return err
		}
		var kept iot.NotificationParts
		if e != nil {
			kept = e.parts()
		}
		whole, err := s.whole(ctx, q, raw, kept)
		if err != nil {
			return err
		}
		if n, err = rsp.ParsePendingNotification(whole); err != nil || !n.Installation {
			return nil
		}
		r, _, err := s.session(ctx, q, n.TransactionID)
		if err != nil || r == nil {
			return err
		}
		if e, err = readEUICC(ctx, q, r.eid, ""); err == nil && e != nil {
			key, err = e.chipKey()
		}
		return err
	})
	if err == nil && n != nil {
		v.notification(n, key)
	}
	return v, err
}
