package eim

import (
	"context"
	"encoding/json"
	"fmt"

	"godwit/db"
	"godwit/iot"
)

// withoutRollback gives an enabling that the eUICC could not do with a way back
// another try without one, if no profile was enabled: then there was nothing to go
// back to, and nothing is lost. It reports false otherwise: whoever asked for the
// way back is not to lose the profile that the device is on.
func (s *Server) withoutRollback(ctx context.Context, tx *db.Tx, e *euicc, t *task, o *ending) (bool, error) {
	if t.kind != Enable || !t.spec.Rollback || o.code != iot.ResultNoRollback {
		return false, nil
	}
	var listed []byte
	if err := tx.QueryRowContext(ctx, `select profiles from eim_euicc where eid = $1`, string(e.eid)).Scan(&listed); err != nil {
		return false, fmt.Errorf("read profiles of %s: %w", e.eid, err)
	}
	if listed == nil || enabledIn(listed) {
		return false, nil
	}
	t.spec.Rollback = false
	encoded, err := json.Marshal(t.spec)
	if err != nil {
		return false, fmt.Errorf("encode task %s: %w", t.id, err)
	}
	if _, err := tx.ExecContext(ctx, `update eim_task set spec = $2 where id = $1`, t.id, s.db.Seal("eim_task/"+t.id, encoded)); err != nil {
		return false, fmt.Errorf("store task %s: %w", t.id, err)
	}
	return true, s.retry(ctx, tx, t, s.now())
}

// enabledIn reports whether a list of profiles, verified when it was kept, has one
// that is enabled.
func enabledIn(der []byte) bool {
	result, err := iot.ReadResult(der)
	if err != nil {
		return true
	}
	for _, r := range result.Results {
		for _, p := range r.Profiles {
			if p.Enabled != nil && *p.Enabled {
				return true
			}
		}
	}
	return false
}
