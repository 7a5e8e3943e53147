package sim

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"

	"godwit/db"
	"godwit/event"
	"godwit/rsp"
)

// Progress takes what the SM-DP+ reports about downloads, many reports in one
// transaction. A report that comes twice, late or out of order changes nothing
// the second time: a reservation only ever moves on. Reports about profiles
// that are nobody's reservation are passed over; the SM-DP+ has other callers.
// SGP.22 v2.5, 5.3.5.
func (s *Store) Progress(ctx context.Context, reports []rsp.ProgressInfo) error {
	return s.DB.Write(ctx, func(tx *db.Tx) error {
		for i := range reports {
			if err := s.progress(ctx, tx, &reports[i]); err != nil {
				return fmt.Errorf("take progress of %s: %w", reports[i].ICCID, err)
			}
		}
		return nil
	})
}

func (s *Store) progress(ctx context.Context, tx *db.Tx, r *rsp.ProgressInfo) error {
	p, err := scanProfile(tx.QueryRowContext(ctx, selectProfile+` where iccid = $1 and status <> 'failed'`+tx.ForUpdate(), string(r.ICCID)))
	if db.None(err) {
		return nil // another caller's, or failed and final
	}
	if err != nil {
		return err
	}
	to, ok := outcome(r)
	if !ok || to == p.Status || p.Status.Final() {
		return nil
	}
	proof := event.Event{Evidence: r.ResultData, EvidenceKind: evidencePIR}
	if len(r.ResultData) == 0 {
		if proof.Evidence, err = json.Marshal(r); err != nil {
			return fmt.Errorf("write evidence: %w", err)
		}
		proof.EvidenceKind = evidenceES2
	}
	if p.Status == ProfileReserving && p.ICCID != "" {
		// The eUICC was faster than we with the answer to releaseProfile: the
		// report itself proves the release.
		if err := s.advance(ctx, tx, &p, ProfileAvailable, proof); err != nil {
			return err
		}
	}
	if !p.Status.CanBecome(to) {
		slog.DebugContext(ctx, "progress report passed over", "sid", p.SID, "iccid", r.ICCID, "status", p.Status, "report", to)
		return nil
	}
	if r.EID != "" && to != ProfileFailed {
		p.EID = string(r.EID)
	}
	if to == ProfileFailed {
		code, message := describeProgress(r)
		return s.fail(ctx, tx, &p, code, message, proof)
	}
	return s.advance(ctx, tx, &p, to, proof)
}

// outcome returns what a report says about a reservation.
func outcome(r *rsp.ProgressInfo) (ProfileStatus, bool) {
	if r.Status.Status == rsp.WithWarning {
		return "", false // a failure that the eUICC may still make good
	}
	failed := r.Status.Status == rsp.Failed || r.Status.Status == rsp.Expired
	switch r.Point {
	case rsp.PointEligibility, rsp.PointConfirmation:
		return ProfileFailed, failed
	case rsp.PointDownload:
		if failed {
			return ProfileFailed, true
		}
		return ProfileDownloaded, true
	case rsp.PointInstallation:
		if failed {
			return ProfileFailed, true
		}
		return ProfileInstalled, true
	}
	return "", false // enabled, disabled, deleted: not the reservation's matter
}
