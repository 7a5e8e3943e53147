package smdp

import (
	"context"
	"fmt"

	"godwit/db"
	"godwit/fault"
	"godwit/ident"
)

// Subscriber returns the ICCID of the profile that has an IMSI or, where that
// finds none, an MSISDN. Where several profiles share one, as test profiles
// may, it is the one that was taken from stock last.
func (s *Server) Subscriber(ctx context.Context, q db.Query, imsi ident.IMSI, msisdn string) (ident.ICCID, error) {
	for _, by := range []struct{ column, value string }{{"imsi", string(imsi)}, {"msisdn", msisdn}} {
		if by.value == "" {
			continue
		}
		text := `select iccid from profile where ` + by.column + ` = $1`
		if by.column == "msisdn" {
			text += ` and msisdn <> ''` // for the index
		}
		found, err := db.All(ctx, q, db.Only[string], text+` order by ordered_at desc, iccid limit 1`, by.value)
		if err != nil {
			return "", fmt.Errorf("look for a profile by %s: %w", by.column, err)
		}
		if len(found) > 0 {
			return ident.ICCID(found[0]), nil
		}
	}
	return "", fault.New(fault.NotFound, "no profile has IMSI %q or MSISDN %q", imsi, msisdn)
}
