package eim

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"time"

	"godwit/db"
	"godwit/ident"
	"godwit/iot"
)

// undefined is the code of whatever has none of its own.
const undefined = iot.EimUndefined

const (
	// ownWait is how long a package of the eIM's own making may be under way
	// before it makes room for others.
	ownWait = time.Hour
	// listPause is how long the eIM waits from one list of profiles to the next
	// where an IPA reports change after change.
	listPause = 10 * time.Second
)

// poll answers ESipa.GetEimPackage of SGP.32: the package that is under way, the
// same octets as before, or the next, or a code.
func (s *Server) poll(ctx context.Context, eid ident.EID, stateChanged bool, remote string) (octets []byte, code int64, err error) {
	now := s.now()
	if !stateChanged && s.idle.has(eid, now) {
		if err := s.catchUp(ctx); err != nil {
			return nil, undefined, fmt.Errorf("poll of %s: %w", eid, err)
		}
		if s.idle.has(eid, now) {
			s.sawPoll(eid, now, remote)
			return nil, iot.EimNoPackage, nil
		}
	}
	generation := s.idle.look(eid)
	v, err := s.look(ctx, eid)
	if err != nil {
		return nil, undefined, fmt.Errorf("poll of %s: %w", eid, err)
	}
	if !v.found || !v.active {
		return nil, iot.EimEIDNotFound, nil
	}
	s.sawPoll(eid, now, remote)
	if !stateChanged {
		if v.octets != nil && v.until.Int64 > now {
			return v.octets, 0, nil
		}
		next := v.listDue
		if v.due.Valid {
			next = min(next, v.due.Int64)
		}
		if v.octets == nil && next > now {
			s.idle.put(eid, next, generation)
			return nil, iot.EimNoPackage, nil
		}
	}
	err = s.db.Write(ctx, func(tx *db.Tx) (err error) {
		octets, code, err = s.next(ctx, tx, eid, stateChanged)
		return err
	})
	if err != nil {
		return nil, undefined, fmt.Errorf("poll of %s: %w", eid, err)
	}
	return octets, code, nil
}

func (s *Server) sawPoll(eid ident.EID, now int64, remote string) {
	if host, _, err := net.SplitHostPort(remote); err == nil {
		remote = host
	}
	s.seen.note(eid, now, remote)
}

// next finds in a transaction what an eUICC is to get now.
func (s *Server) next(ctx context.Context, tx *db.Tx, eid ident.EID, stateChanged bool) ([]byte, int64, error) {
	e, err := lock(ctx, tx, eid)
	if err != nil {
		return nil, undefined, err
	}
	if e == nil {
		return nil, iot.EimEIDNotFound, nil
	}
	now := s.now()
	if stateChanged || e.listDue <= now {
		if err := s.listAgain(ctx, tx, e, now); err != nil {
			return nil, undefined, err
		}
	}
	var id string
	var octets []byte
	err = tx.QueryRowContext(ctx, `select task, octets from eim_package where eid = $1`, string(eid)).Scan(&id, &octets)
	if err == nil {
		t, err := s.readTask(ctx, tx, `id = $1`, id)
		if err != nil {
			return nil, undefined, err
		}
		if t != nil && t.until > now {
			return octets, 0, nil
		}
		if t == nil { // cannot be; but a package without a task would be for ever
			_, err = tx.ExecContext(ctx, `delete from eim_package where eid = $1`, string(eid))
		} else {
			err = s.timeOut(ctx, tx, e, t)
		}
		if err != nil {
			return nil, undefined, err
		}
	} else if !errors.Is(err, sql.ErrNoRows) {
		return nil, undefined, fmt.Errorf("read package under way: %w", err)
	}
	for {
		now = s.now() // what was queued just now, in here, is due
		where := `eid = $1 and stage = 'queued' and due_at <= $2 order by urgency, position limit 1`
		if !e.contacted {
			where = `eid = $1 and stage = 'queued' and due_at <= $2 and urgency = 0 order by position limit 1`
		}
		t, err := s.readTask(ctx, tx, where, string(eid), now)
		if err != nil {
			return nil, undefined, err
		}
		if t == nil {
			return nil, iot.EimNoPackage, nil
		}
		if t.until <= now {
			if err := s.timeOut(ctx, tx, e, t); err != nil {
				return nil, undefined, err
			}
			continue
		}
		octets, err := s.dispatch(ctx, tx, e, t, now)
		if err != nil {
			return nil, undefined, err
		}
		if octets != nil {
			return octets, 0, nil
		}
	}
}

// listAgain queues a list of profiles because the IPA says that something has
// changed, or because the last is old.
func (s *Server) listAgain(ctx context.Context, tx *db.Tx, e *euicc, now int64) error {
	// An IPA that says so at each poll gets a list now and then, not for ever.
	due := max(now, e.listed+listPause.Microseconds())
	if err := s.wantList(ctx, tx, e.eid, due); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `update eim_euicc set list_due_at = $2 where eid = $1`,
		string(e.eid), now+s.cfg.Refresh.Microseconds()); err != nil {
		return fmt.Errorf("ask %s for its profiles: %w", e.eid, err)
	}
	return nil
}

// dispatch makes the package of a task and stores it before it goes out. nil is
// a task that can never be sent: it has failed.
func (s *Server) dispatch(ctx context.Context, tx *db.Tx, e *euicc, t *task, now int64) ([]byte, error) {
	counter := int64(0)
	if t.kind.signed() {
		counter = e.counter + 1
	}
	octets, err := s.build(ctx, tx, e, t, counter)
	if err != nil {
		refused, ok := errors.AsType[*unsendableError](err)
		if !ok {
			return nil, err
		}
		return nil, s.finish(ctx, tx, t, fail, ending{reason: "refused", message: refused.Error()})
	}
	if counter > 0 {
		if _, err := tx.ExecContext(ctx, `update eim_euicc set counter = $2 where eid = $1`, string(e.eid), counter); err != nil {
			return nil, fmt.Errorf("store counter of %s: %w", e.eid, err)
		}
		e.counter = counter
	}
	until := t.until
	if t.own {
		until = now + ownWait.Microseconds()
	}
	ok, err := changed(tx.ExecContext(ctx, guarded(send, `sent_at = $3, until_at = $4, attempt = attempt + 1`), string(Sent), t.id, now, until))
	if err == nil && !ok {
		err = errors.New("it does not wait any more")
	}
	if err != nil {
		return nil, fmt.Errorf("send task %s: %w", t.id, err)
	}
	// The primary key is what holds an eUICC to one package at a time.
	ok, err = changed(tx.ExecContext(ctx, `insert into eim_package (eid, task, phase, counter, octets, address, sent_at)
		values ($1, $2, 'send', $3, $4, $5, $6) on conflict (eid) do nothing`,
		string(e.eid), t.id, counter, octets, t.address(), now))
	if err == nil && !ok {
		err = errors.New("another is under way")
	}
	if err != nil {
		return nil, fmt.Errorf("store package of task %s: %w", t.id, err)
	}
	t.stage = Sent
	return octets, s.tell(ctx, tx, t, Sent, ending{})
}

// timeOut ends a task whose time is over.
func (s *Server) timeOut(ctx context.Context, tx *db.Tx, e *euicc, t *task) error {
	if t.stage == Queued {
		o := ending{reason: "device_offline", message: "the device did not fetch it in time"}
		if e.trouble != "" {
			o = ending{reason: "refused", message: "the eUICC is not believed: " + e.trouble}
		}
		return s.finish(ctx, tx, t, expire, o)
	}
	o := ending{reason: "device_timeout", message: "the device fetched it and sent no result in time"}
	if e.trouble != "" {
		o.message = "the device fetched it, and what it sent back is not believed: " + e.trouble
	}
	if err := s.finish(ctx, tx, t, lose, o); err != nil {
		return err
	}
	if t.urgency == urgencyContact {
		return s.ask(ctx, tx, e.eid, s.now(), nil, t.attempt)
	}
	if t.kind == List && !t.own {
		return nil
	}
	if t.kind == List { // what waits comes first
		return s.wantList(ctx, tx, e.eid, s.now()+listPause.Microseconds())
	}
	// What became of it shows in the profiles, and the greater counter keeps the
	// lost package from being executed after that.
	return s.wantList(ctx, tx, e.eid, s.now())
}
