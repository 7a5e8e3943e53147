package smdp

import (
	"context"
	"errors"
	"fmt"

	"godwit/db"
	"godwit/rsp"
)

// expireBatch is how many orders expire in one transaction.
const expireBatch = 100

// expireOrders ends the orders whose time is over and that nobody came for, and
// tells who ordered. Where somebody comes first, he is refused and the order
// ends by that. A download that began in time has the time of a run to end: its
// eUICC hears the reason itself.
func (s *Server) expireOrders(ctx context.Context) error {
	for {
		var found int
		err := s.db.Write(ctx, func(tx *db.Tx) error {
			over := s.now() - s.cfg.RunLifetime.Microseconds()
			list, err := db.All(ctx, tx, func(r db.Row) (*profile, error) {
				p := &profile{}
				return p, r.Scan(p.targets()...)
			}, `select `+profileColumns+` from profile p
				where p.state = 'released' and p.expires_at > 0 and p.expires_at <= $1 order by p.expires_at limit `+fmt.Sprint(expireBatch), over)
			if err != nil {
				return fmt.Errorf("look for orders that have expired: %w", err)
			}
			found = len(list)
			for _, p := range list {
				why := rsp.Refuse(rsp.OrderExpired, "the order expired at %s", db.Time(p.Expires).Format("2006-01-02 15:04 MST"))
				if err := s.fail(ctx, tx, p, p.EID, rsp.PointEligibility, why, nil); err != nil && !errors.Is(err, errMoved) {
					return err
				}
			}
			return nil
		})
		if err != nil || found < expireBatch {
			return err
		}
	}
}
