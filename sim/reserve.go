package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"godwit/db"
	"godwit/event"
	"godwit/ident"
	"godwit/jobs"
	"godwit/rsp"
)

// A Preparer is the SM-DP+ as an operator sees it: ES2+, for many profiles at a
// time. The SM-DP+ in this process is one, a client of ES2+ another.
//
// Every method answers in the order of what it was asked, one result for each;
// what became of each is in its header. An error means that nothing is known
// about any of them, and that the same call may be made again: a request with
// the same requester and call identifier is a retry, is answered like the first
// and does nothing more. SGP.22 v2.5, 5.3.
type Preparer interface {
	DownloadOrder(ctx context.Context, orders []rsp.DownloadOrder) ([]rsp.DownloadOrderResult, error)
	ConfirmOrder(ctx context.Context, orders []rsp.ConfirmOrder) ([]rsp.ConfirmOrderResult, error)
	ReleaseProfile(ctx context.Context, orders []rsp.ReleaseProfile) ([]rsp.ReleaseProfileResult, error)
	CancelOrder(ctx context.Context, orders []rsp.CancelOrder) ([]rsp.CancelOrderResult, error)
}

// reserveArgs is the job that prepares all reservations that wait.
type reserveArgs struct{}

// Kind names the job.
func (reserveArgs) Kind() string { return "sim.reserve" }

// cancelArgs is the job that gives an order's profile back. The ICCID is empty
// where the answer to the order never came.
type cancelArgs struct {
	SID   string      `json:"sid"`
	ICCID ident.ICCID `json:"iccid,omitempty"`
	EID   ident.EID   `json:"eid,omitempty"`
	Type  string      `json:"type"`
}

// Kind names the job.
func (cancelArgs) Kind() string { return "sim.cancel_order" }

const (
	// reserveBatch is how many reservations are prepared together.
	reserveBatch = 500
	// reserveRounds bounds one run of the job; another one takes over.
	reserveRounds = 20
	// reserveLease is how long a job that may have died keeps its reservations
	// from others.
	reserveLease = time.Minute
	// sweep is how often what was left behind is taken up again: by a
	// process that died, or since a neighbour did not answer.
	sweep = 5 * time.Second
	// reservePatience is how long a reservation waits for an SM-DP+ that does
	// not answer. It must end some day: clients wait for it.
	reservePatience = 15 * time.Minute
)

// reserve prepares reservations until none waits. It may run again after a
// crash, and beside others of its kind: a lease divides the reservations among
// them, and if it lapses too early, both make the same calls under the same
// identifiers, and whoever comes second finds the reservation settled. A run
// that fails is not repeated by the queue: the periodic one of [sweep] follows
// and takes along whatever has come to wait meanwhile.
func (s *Store) reserve(ctx context.Context, h jobs.Hand) error {
	if err := h.LetGo(ctx, s.DB, "esim_profile", waitingStates); err != nil {
		return err
	}
	for range reserveRounds {
		batch, more, err := s.claim(ctx, h)
		if err != nil {
			return err
		}
		if len(batch) == 0 {
			if more {
				continue
			}
			return nil
		}
		if err := s.prepare(ctx, batch); err != nil {
			return errors.Join(fmt.Errorf("prepare %d reservations: %w", len(batch), err), s.putBack(context.WithoutCancel(ctx), batch))
		}
	}
	return s.DB.Write(ctx, func(tx *db.Tx) error { return s.Jobs.Add(ctx, tx, reserveArgs{}) })
}

// What waits, in the words of the index of what waits: neither engine would
// find by itself that a new reservation is one of those.
const (
	waitingStates = `status in ('new', 'reserving')`
	waitingOnes   = ` where ` + waitingStates
	// nextWaiting finds a reservation that nobody has begun with. One that was
	// begun never has a lease of zero again.
	nextWaiting = `select sid from esim_profile` + waitingOnes + ` and lease = 0 limit 1`
	claimable   = selectProfile + waitingOnes + ` and lease < $1 order by lease, created_at limit $2`
)

// claim takes reservations that wait and returns those that must be prepared.
// Those that nobody had begun with and the SM-DP+ can hand out at once are
// available then. more says that some are left.
func (s *Store) claim(ctx context.Context, h jobs.Hand) (batch []Profile, more bool, err error) {
	err = s.DB.Write(ctx, func(tx *db.Tx) error {
		now := s.now()
		found, err := db.All(ctx, tx, scanProfile, claimable+tx.SkipLocked(), now.UnixMicro(), reserveBatch)
		if err != nil {
			return fmt.Errorf("read reservations that wait: %w", err)
		}
		var fresh []*Profile
		var begun []event.Event
		for i := range found {
			if p := &found[i]; p.Status == ProfileNew {
				p.Status, p.UpdatedAt = ProfileReserving, now
				fresh = append(fresh, p)
				begun = append(begun, event.Event{
					Kind: "esim_profile.reserving", Subject: p.SID, Account: p.Account, At: now,
					Data: map[string]any{"from": ProfileNew, "to": ProfileReserving},
				})
			}
		}
		if err := s.Events.AppendMany(ctx, tx, begun); err != nil {
			return err
		}
		ready, taken, err := s.handOut(ctx, tx, fresh)
		if err != nil {
			return err
		}
		if err := s.makeAvailable(ctx, tx, ready, func(time.Time) error { return storeAvailable(ctx, tx, ready) }); err != nil {
			return err
		}
		if err := s.failHanded(ctx, tx, taken); err != nil {
			return err
		}
		batch, more = nil, len(found) == reserveBatch
		var rows [][]any
		for _, p := range found {
			if p.Status == ProfileReserving {
				batch = append(batch, p)
				rows = append(rows, []any{p.SID, p.UpdatedAt.UnixMicro()})
			}
		}
		if _, err := tx.ExecMany(ctx, `update esim_profile set status = 'reserving', lease = $1, holder = $2, updated_at = v.column2
			from (values {text, bigint}) v where sid = v.column1`, []any{now.Add(reserveLease).UnixMicro(), h.Job}, rows); err != nil {
			return fmt.Errorf("claim %d reservations: %w", len(rows), err)
		}
		return nil
	})
	if err != nil {
		return nil, false, err
	}
	if more {
		return batch, more, nil
	}
	// Seen without passing over locked rows: one that is being created beside
	// another that waits counts on this job.
	err = s.DB.Read(ctx, func(q db.Query) error {
		var sid string
		err := q.QueryRowContext(ctx, nextWaiting).Scan(&sid)
		if db.None(err) {
			return nil
		}
		more = err == nil
		return err
	})
	return batch, more, err
}

// putBack gives up the lease of reservations that could not be prepared, and
// ends those that have waited long enough.
func (s *Store) putBack(ctx context.Context, batch []Profile) error {
	return s.DB.Write(ctx, func(tx *db.Tx) error {
		for i := range batch {
			p, err := reserving(ctx, tx, batch[i].SID)
			if db.None(err) {
				continue
			}
			if err != nil {
				return err
			}
			if s.now().Sub(p.CreatedAt) > reservePatience {
				err = s.fail(ctx, tx, &p, CodeUnreachable, "The SM-DP+ could not be reached for "+reservePatience.String()+
					". Nothing was charged; reserve again when the operator of this server has looked at its SM-DP+.", event.Event{})
				err = errors.Join(err, s.cancel(ctx, tx, &p))
			} else {
				_, err = tx.ExecContext(ctx, `update esim_profile set lease = 1 where sid = $1`, p.SID)
			}
			if err != nil {
				return fmt.Errorf("put back %s: %w", p.SID, err)
			}
		}
		return nil
	})
}

// reserving reads a reservation that is still being prepared.
func reserving(ctx context.Context, tx *db.Tx, sid string) (Profile, error) {
	return scanProfile(tx.QueryRowContext(ctx, selectProfile+` where sid = $1 and status = 'reserving'`+tx.ForUpdate(), sid))
}

// prepare orders, confirms and releases a profile for each reservation.
//
// What the SM-DP+ prepared is stored before it is released: from then on its
// progress reports may come, and they must find the reservation.
func (s *Store) prepare(ctx context.Context, batch []Profile) error {
	batch, err := s.order(ctx, batch)
	if err != nil || len(batch) == 0 {
		return err
	}
	if batch, err = s.confirm(ctx, batch); err != nil || len(batch) == 0 {
		return err
	}
	return s.release(ctx, batch)
}

// call identifiers are made from the reservation, so that a call made again
// after a crash is known as the same call.
func (s *Store) header(p *Profile, function string) rsp.RequestHeader {
	return rsp.RequestHeader{Requester: s.Requester, Call: p.SID + "-" + function}
}

// order takes stock and returns the reservations that got some.
func (s *Store) order(ctx context.Context, batch []Profile) ([]Profile, error) {
	var orders []rsp.DownloadOrder
	for i := range batch {
		p := &batch[i]
		orders = append(orders, rsp.DownloadOrder{Header: s.header(p, "order"), EID: ident.EID(p.EID), Type: p.Type})
	}
	results, err := s.Preparer.DownloadOrder(ctx, orders)
	if err != nil {
		return nil, fmt.Errorf("downloadOrder: %w", err)
	}
	if len(results) != len(batch) {
		return nil, fmt.Errorf("downloadOrder: %d answers to %d orders", len(results), len(batch))
	}
	var ordered, refused []Profile
	var reasons []error
	for i, p := range batch {
		if err := results[i].Header.Err(); err != nil {
			refused, reasons = append(refused, p), append(reasons, err)
			continue
		}
		p.ICCID = results[i].ICCID
		ordered = append(ordered, p)
	}
	if len(refused) > 0 {
		_, err = s.keep(ctx, refused, func(tx *db.Tx, still []held) ([]held, error) {
			for _, h := range still {
				if err := s.refused(ctx, tx, h.Profile, "downloadOrder", reasons[h.i]); err != nil {
					return nil, err
				}
			}
			return nil, nil
		})
	}
	return ordered, err
}

// confirm makes the orders fit for download and stores what they are made of.
func (s *Store) confirm(ctx context.Context, batch []Profile) ([]Profile, error) {
	var orders []rsp.ConfirmOrder
	for i := range batch {
		p := &batch[i]
		order := rsp.ConfirmOrder{Header: s.header(p, "confirm"), ICCID: p.ICCID, EID: ident.EID(p.EID)}
		if !p.WantsCode {
			// Present and empty: the EID alone finds the profile.
			order.MatchingID = new(ident.MatchingID)
		}
		orders = append(orders, order)
	}
	results, err := s.Preparer.ConfirmOrder(ctx, orders)
	if err != nil {
		return nil, fmt.Errorf("confirmOrder: %w", err)
	}
	if len(results) != len(batch) {
		return nil, fmt.Errorf("confirmOrder: %d answers to %d orders", len(results), len(batch))
	}
	return s.keep(ctx, batch, func(tx *db.Tx, still []held) ([]held, error) {
		named := make([]*Profile, len(still))
		for n, h := range still {
			h.ICCID = batch[h.i].ICCID
			named[n] = h.Profile
		}
		taken, err := iccidsTaken(ctx, tx, named)
		if err != nil {
			return nil, err
		}
		var fit []held
		for _, h := range still {
			result := &results[h.i]
			if err := result.Header.Err(); err != nil {
				if err := errors.Join(s.refused(ctx, tx, h.Profile, "confirmOrder", err), s.cancel(ctx, tx, h.Profile)); err != nil {
					return nil, err
				}
				continue
			}
			if taken[h.ICCID] {
				proof, err := json.Marshal(result)
				if err != nil {
					return nil, fmt.Errorf("write evidence: %w", err)
				}
				if err := s.failTaken(ctx, tx, h.Profile, proof); err != nil {
					return nil, err
				}
				continue
			}
			h.MatchingID = result.MatchingID
			h.Address = s.SMDPAddress
			if a := result.SMDPAddress; a != "" {
				h.Address = a
			}
			h.Address = bareHost(h.Address)
			fit = append(fit, h)
		}
		return fit, storePrepared(ctx, tx, fit)
	})
}

// failTaken ends a reservation whose profile another one has.
func (s *Store) failTaken(ctx context.Context, tx *db.Tx, p *Profile, proof []byte) error {
	return s.fail(ctx, tx, p, CodeRefused, fmt.Sprintf("The SM-DP+ handed out ICCID %s, which this server already knows as another Sim. "+
		"The operator of this server must clear that up with the SM-DP+; then reserve again.", p.ICCID),
		event.Event{Evidence: proof, EvidenceKind: evidenceES2})
}

// release allows the downloads and tells the customers.
func (s *Store) release(ctx context.Context, batch []Profile) error {
	var orders []rsp.ReleaseProfile
	for i := range batch {
		orders = append(orders, rsp.ReleaseProfile{Header: s.header(&batch[i], "release"), ICCID: batch[i].ICCID})
	}
	results, err := s.Preparer.ReleaseProfile(ctx, orders)
	if err != nil {
		return fmt.Errorf("releaseProfile: %w", err)
	}
	if len(results) != len(batch) {
		return fmt.Errorf("releaseProfile: %d answers to %d orders", len(results), len(batch))
	}
	_, err = s.keep(ctx, batch, func(tx *db.Tx, still []held) ([]held, error) {
		var done []released
		for _, h := range still {
			if err := results[h.i].Header.Err(); err != nil {
				if err := errors.Join(s.refused(ctx, tx, h.Profile, "releaseProfile", err), s.cancel(ctx, tx, h.Profile)); err != nil {
					return nil, err
				}
				continue
			}
			proof, err := json.Marshal(results[h.i])
			if err != nil {
				return nil, fmt.Errorf("write evidence: %w", err)
			}
			done = append(done, released{h.Profile, proof})
		}
		return nil, s.makeAvailable(ctx, tx, done, func(time.Time) error { return storeAvailable(ctx, tx, done) })
	})
	return err
}

// refused ends a reservation that the SM-DP+ refused to prepare.
func (s *Store) refused(ctx context.Context, tx *db.Tx, p *Profile, function string, err error) error {
	f, _ := rsp.AsFailure(err)
	code, message := describeRefusal(function, p, f)
	if code != CodeNoStock {
		slog.WarnContext(ctx, "the SM-DP+ refused a reservation", "sid", p.SID, "function", function, "err", err)
	}
	proof, merr := json.Marshal(f.Header())
	if merr != nil {
		return fmt.Errorf("write evidence: %w", merr)
	}
	return s.fail(ctx, tx, p, code, message, event.Event{Evidence: proof, EvidenceKind: evidenceES2})
}

// fail ends a reservation with words.
func (s *Store) fail(ctx context.Context, tx *db.Tx, p *Profile, code int, message string, ev event.Event) error {
	p.ErrorCode, p.ErrorMessage = fmt.Sprint(code), message
	return s.advance(ctx, tx, p, ProfileFailed, ev)
}

// cancel has the profile of a reservation that failed after it was ordered go
// back into stock.
func (s *Store) cancel(ctx context.Context, tx *db.Tx, p *Profile) error {
	return s.Jobs.Add(ctx, tx, cancelArgs{SID: p.SID, ICCID: p.ICCID, EID: ident.EID(p.EID), Type: p.Type})
}

// cancelOrder gives a profile back. Repeating it is a retry of the same call.
// A refusal is the SM-DP+'s last word: the profile is not ours to give.
func (s *Store) cancelOrder(ctx context.Context, a cancelArgs) error {
	if a.ICCID == "" {
		// Asking again what was ordered is a retry of that call.
		ordered, err := s.Preparer.DownloadOrder(ctx, []rsp.DownloadOrder{{
			Header: s.header(&Profile{SID: a.SID}, "order"), EID: a.EID, Type: a.Type,
		}})
		if err != nil {
			return fmt.Errorf("downloadOrder of %s: %w", a.SID, err)
		}
		if len(ordered) != 1 {
			return fmt.Errorf("downloadOrder of %s: %d answers to one order", a.SID, len(ordered))
		}
		if ordered[0].Header.Err() != nil {
			return nil // nothing was taken
		}
		a.ICCID = ordered[0].ICCID
	}
	results, err := s.Preparer.CancelOrder(ctx, []rsp.CancelOrder{{
		Header: rsp.RequestHeader{Requester: s.Requester, Call: a.SID + "-cancel"},
		ICCID:  a.ICCID, EID: a.EID, Final: rsp.FinalAvailable,
	}})
	if err != nil {
		return fmt.Errorf("cancelOrder of %s: %w", a.SID, err)
	}
	if len(results) != 1 {
		return fmt.Errorf("cancelOrder of %s: %d answers to one order", a.SID, len(results))
	}
	if err := results[0].Header.Err(); err != nil {
		slog.WarnContext(ctx, "the SM-DP+ refused to take a profile back", "sid", a.SID, "iccid", a.ICCID, "err", err)
	}
	return nil
}

// bareHost writes the address of an SM-DP+ as the API shows it: the host in
// lower case, with the port only if it is not 443.
func bareHost(address string) string {
	address = strings.ToLower(address)
	address = strings.TrimPrefix(address, "https://")
	address, _, _ = strings.Cut(address, "/")
	return strings.TrimSuffix(address, ":443")
}
