package usage

import (
	"context"
	"fmt"
	"net/netip"

	"godwit/db"
)

// Holder returns the SID of the Sim whose device has an address in an open data
// session now, empty for nobody's. Where two reporters claim one address the
// newer report counts.
func (s *Store) Holder(ctx context.Context, q db.Query, a netip.Addr) (sid string, err error) {
	text, since := a.Unmap().String(), s.now().Add(-silence).UnixMicro()
	// Most sessions have one address; the few with several are gone through.
	for _, query := range []string{
		`select sim_sid from usage_session where is_open and addresses = $1 and last_at > $2 order by last_at desc limit 1`,
		`select sim_sid from usage_session where is_open and addresses like '% %' and ' ' || addresses || ' ' like '% ' || $1 || ' %' and last_at > $2
			order by last_at desc limit 1`,
	} {
		if err := q.QueryRowContext(ctx, query, text, since).Scan(&sid); !db.None(err) {
			if err != nil {
				return "", fmt.Errorf("look for the device at %s: %w", a, err)
			}
			return sid, nil
		}
	}
	return "", nil
}
