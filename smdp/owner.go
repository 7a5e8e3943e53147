package smdp

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"godwit/db"
	"godwit/ident"
)

// Owner returns the profile that an IMSI, or where that is empty a telephone
// number without plus, belongs to; ok is false for none.
func (s *Server) Owner(ctx context.Context, imsi ident.IMSI, msisdn string) (iccid ident.ICCID, ok bool, err error) {
	query, args := `select iccid from profile where imsi = $1 and state <> 'available' limit 1`, []any{string(imsi)}
	if imsi == "" {
		query, args = `select iccid from profile where msisdn <> '' and msisdn in ($1, $2) and state <> 'available' limit 1`, []any{msisdn, "+" + msisdn}
	}
	err = s.db.Read(ctx, func(q db.Query) error { return q.QueryRowContext(ctx, query, args...).Scan(&iccid) })
	if errors.Is(err, sql.ErrNoRows) {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("look for the profile of a number: %w", err)
	}
	return iccid, true, nil
}
