package device

import (
	"context"
	"database/sql"
	"fmt"

	"godwit/db"
	"godwit/ident"
)

// installedOn returns a profile that was downloaded to an eSIM and not deleted
// since, by what the eUICC has signed about both. It is for eSIMs whose list does
// not name it: the list is not here yet, or the eUICC writes the ICCID so that
// nobody can read it. Whether the profile is there the eUICC decides.
func (s *Store) installedOn(ctx context.Context, q db.Query, account string, eid ident.EID, iccid ident.ICCID) (Profile, error) {
	in, args := placeholders(3, spellings(iccid))
	t, err := txTable.one(ctx, q, `where account_sid = $1 and eid = $2 and iccid in (`+in+`) and status = 'complete'
		and action in ('download', 'delete') order by created_at desc limit 1`, append([]any{account, string(eid)}, args...)...)
	if err == nil && t.Action != Download {
		err = sql.ErrNoRows
	}
	if err != nil && !db.None(err) {
		err = fmt.Errorf("read downloads of %s to %s: %w", iccid, eid, err)
	}
	return Profile{ICCID: t.ICCID, EID: eid, Device: t.Device, Account: account}, err
}
