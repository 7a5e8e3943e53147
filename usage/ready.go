package usage

import (
	"context"
	"fmt"

	"godwit/db"
)

// What makes a Sim active that is ready: this much data, this many commands in
// either direction, or this many months.
const (
	ReadyOctets   = 250_000
	ReadyCommands = 5
	ReadyMonths   = 3
)

// Command counts an SMS command to or from a Sim. Call it in the transaction
// that stores the command, once for each.
func (s *Store) Command(ctx context.Context, tx *db.Tx, sid string) error {
	return s.usedWhileReady(ctx, tx, sid, 0, 1)
}

// beginReady times a Sim that has become ready. One that was ready before it
// was scheduled goes on.
func (s *Store) beginReady(ctx context.Context, tx *db.Tx, sid string) error {
	now := s.now()
	if _, err := tx.ExecContext(ctx, `insert into usage_ready (sim_sid, since, used, commands, due_at) values ($1, $2, 0, 0, $3) on conflict (sim_sid) do nothing`,
		sid, now.UnixMicro(), months(now, ReadyMonths).UnixMicro()); err != nil {
		return fmt.Errorf("note that %s is ready: %w", sid, err)
	}
	return nil
}

func (s *Store) endReady(ctx context.Context, tx *db.Tx, sid string) error {
	if _, err := tx.ExecContext(ctx, `delete from usage_ready where sim_sid = $1`, sid); err != nil {
		return fmt.Errorf("note that %s is ready no more: %w", sid, err)
	}
	return nil
}

// usedWhileReady counts what a ready Sim does, and makes it active when that is
// enough. A Sim that is being updated becomes active afterwards, by
// activateDue.
func (s *Store) usedWhileReady(ctx context.Context, tx *db.Tx, sid string, octets, commands int64) error {
	var used, sent int64
	err := tx.QueryRowContext(ctx, `update usage_ready set used = used + $1, commands = commands + $2 where sim_sid = $3 returning used, commands`,
		octets, commands, sid).Scan(&used, &sent)
	if db.None(err) {
		return nil // the Sim is not ready
	}
	if err != nil {
		return fmt.Errorf("count what %s does while ready: %w", sid, err)
	}
	if used < ReadyOctets && sent < ReadyCommands {
		return nil
	}
	if _, err := tx.ExecContext(ctx, `update usage_ready set due_at = $1 where sim_sid = $2`, s.now().UnixMicro(), sid); err != nil {
		return fmt.Errorf("note that %s was used: %w", sid, err)
	}
	return s.Sims.Used(ctx, tx, sid, reason(used, sent))
}

// reason says why a Sim becomes active.
func reason(used, commands int64) string {
	switch {
	case used >= ReadyOctets:
		return fmt.Sprintf("used %d octets of data; %d make a ready Sim active", used, ReadyOctets)
	case commands >= ReadyCommands:
		return fmt.Sprintf("%d SMS commands; %d make a ready Sim active", commands, ReadyCommands)
	}
	return fmt.Sprintf("ready for %d months", ReadyMonths)
}

// activateDue makes Sims active that were ready long enough, or used enough
// while they were being updated.
func (s *Store) activateDue(ctx context.Context) (n int, err error) {
	err = s.DB.Write(ctx, func(tx *db.Tx) error {
		sids, err := db.All(ctx, tx, db.Only[string], `select r.sim_sid from usage_ready r join sim s on s.sid = r.sim_sid
			where r.due_at <= $1 and s.status = 'ready' order by r.due_at limit `+fmt.Sprint(sweepBatch), s.now().UnixMicro())
		if err != nil {
			return fmt.Errorf("look for Sims that were ready long enough: %w", err)
		}
		n = len(sids)
		for _, sid := range sids {
			var used, commands int64
			if err := tx.QueryRowContext(ctx, `select used, commands from usage_ready where sim_sid = $1`, sid).Scan(&used, &commands); err != nil {
				return fmt.Errorf("read what %s did while ready: %w", sid, err)
			}
			if err := s.Sims.Used(ctx, tx, sid, reason(used, commands)); err != nil {
				return err
			}
		}
		return nil
	})
	return n, err
}
