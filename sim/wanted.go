package sim

import (
	"context"
	"fmt"

	"godwit/db"
)

// Wanted returns what the core network is to know about the next Sims in the
// order of their SIDs, from the one after a SID on; "" is the beginning. Sims
// that are scheduled are left out, because they are on their way. The next page
// begins after last, which is "" at the end.
func (s *Store) Wanted(ctx context.Context, after string, limit int) (list []Subscriber, last string, err error) {
	sims, want, err := s.wantedPage(ctx, `where sid > $1 order by sid limit `+fmt.Sprint(limit), after)
	if err != nil {
		return nil, "", err
	}
	for i, one := range sims {
		if one.Status != Scheduled {
			list = append(list, want[i])
		}
	}
	if len(sims) == limit {
		last = sims[limit-1].SID
	}
	return list, last, nil
}

// WantedOf returns what the core network is to know about one Sim now. It is
// not ok for a Sim that is scheduled or is not there.
func (s *Store) WantedOf(ctx context.Context, sid string) (want Subscriber, ok bool, err error) {
	err = s.DB.Read(ctx, func(q db.Query) error {
		one, err := scanSim(q.QueryRowContext(ctx, selectSim+` where sid = $1`, sid))
		if db.None(err) || err == nil && one.Status == Scheduled {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", sid, err)
		}
		ok = true
		want, err = s.policies(q).subscriber(ctx, one)
		return err
	})
	return want, ok, err
}

// SyncNow makes the core network's subscriber equal to a Sim, now or, where the
// Sim is scheduled, later. A refusal of the network is logged, not returned.
func (s *Store) SyncNow(ctx context.Context, sid string) error {
	return s.syncSim(ctx, syncSimArgs{SIM: sid})
}
