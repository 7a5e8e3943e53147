package smdp

import (
	"context"
	"fmt"
	"slices"

	"godwit/db"
	"godwit/rsp"
)

// curable are the reasons for a failed installation that another download to the
// same eUICC may cure: something on the way, or something on the chip that may
// change. A profile that the chip cannot take it will not take the next time.
var curable = []rsp.InstallError{
	rsp.InstallIncorrectInput, rsp.InstallInvalidSignature, rsp.InstallInvalidTransactionID, rsp.InstallStructure,
	rsp.InstallSecurity, rsp.InstallMemory, rsp.InstallInterrupted, rsp.InstallUnknown,
}

// mayRetry reports whether an order outlives a failed installation: the server
// is so configured, the reason may be cured, and the order has not failed too
// often. The notifications, with this one, are the count.
func (l *Listener) mayRetry(ctx context.Context, tx *db.Tx, r *run, p *profile, reason rsp.InstallError) (bool, error) {
	if l.cfg.RetryInstallations == 0 || !slices.Contains(curable, reason) {
		return false, nil
	}
	var failures int
	err := tx.QueryRowContext(ctx, `select count(*) from notification where eid = $1 and iccid = $2 and event = $3
		and result <> 'installed' and received_at >= $4`,
		string(r.eid), string(p.ICCID), rsp.EventInstall.String(), p.Ordered).Scan(&failures)
	if err != nil {
		return false, fmt.Errorf("count failed installations of %s: %w", p.ICCID, err)
	}
	return failures <= l.cfg.RetryInstallations, nil
}

// The bond goes: the eUICC may have used its one-time key up.
var retrySQL = guarded(InstallRetry, `generation = generation + 1, bind_key = null, bind_secret = null`, "generation = $4 and run = $5")

// retryInstallation lets the eUICC, and no other, download the profile again.
// The operator hears of the failure as a warning: the order is not at its end,
// and an event at an SM-DS stays.
func (l *Listener) retryInstallation(ctx context.Context, tx *db.Tx, n *rsp.PendingNotification, r *run, p *profile, why *rsp.Failure, fresh bool) error {
	ok, err := changed(tx.ExecContext(ctx, retrySQL, string(Released), l.now(), string(p.ICCID), p.generation, r.id.String()))
	if err != nil {
		return fmt.Errorf("release %s once more: %w", p.ICCID, err)
	}
	if !ok {
		return l.lateWord(ctx, p, fresh)
	}
	warning := *why
	warning.Status = rsp.WithWarning
	return l.out.progress(ctx, tx, p, r.eid, rsp.PointInstallation, &warning, n.Raw)
}
