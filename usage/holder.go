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
	err = q.QueryRowContext(ctx, `select s.sim_sid from usage_address a join usage_session s on s.nas = a.nas and s.id = a.id
		where a.address = $1 and s.last_at > $2 order by s.last_at desc limit 1`, a.Unmap().String(), s.now().Add(-Silence).UnixMicro()).Scan(&sid)
	if err != nil && !db.None(err) {
		return "", fmt.Errorf("look for the device at %s: %w", a, err)
	}
	return sid, nil
}
