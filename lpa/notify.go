package lpa

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"godwit/ident"
	"godwit/rsp"
)

// A Delivery is one notification and what became of it.
type Delivery struct {
	Metadata rsp.NotificationMetadata
	Err      error // nil: the server has it, and the chip has forgotten it
}

// errEarlier holds a notification back behind one of the same profile that its
// receiver has not taken yet: they arrive in their order.
var errEarlier = errors.New("an earlier notification to this server waits")

// Notify delivers the notifications that wait in the chip, once each, in the
// order in which they happened. One that its server does not acknowledge stays
// in the chip, which is the queue: a crash or a power cut loses nothing, and a
// server may hear of a thing twice. SGP.22 v2.5, 3.5.
//
// The error is of the chip; those of servers are in the deliveries.
func (l *LPA) Notify(ctx context.Context) ([]Delivery, error) {
	return l.notify(ctx, func(rsp.NotificationMetadata) bool { return true })
}

// NotifyUntil calls [LPA.Notify] until nothing waits, with growing pauses, and
// gives up with the context. It returns the deliveries of the last round.
func (l *LPA) NotifyUntil(ctx context.Context) ([]Delivery, error) {
	const longest = 5 * time.Minute
	for pause := time.Second; ; pause = min(2*pause, longest) {
		deliveries, err := l.Notify(ctx)
		if err != nil || !slices.ContainsFunc(deliveries, func(d Delivery) bool { return d.Err != nil }) {
			return deliveries, err
		}
		select {
		case <-ctx.Done():
			return deliveries, ctx.Err()
		case <-time.After(pause):
		}
	}
}

// notify delivers the waiting notifications that wanted picks.
func (l *LPA) notify(ctx context.Context, wanted func(rsp.NotificationMetadata) bool) ([]Delivery, error) {
	pending, err := l.Chip.Pending()
	if err != nil {
		return nil, &Error{Step: StepNotify, Err: err}
	}
	slices.SortFunc(pending, func(a, b rsp.NotificationMetadata) int { return cmp.Compare(a.Sequence, b.Sequence) })
	type queue struct {
		iccid   ident.ICCID
		address string
	}
	stuck := map[queue]bool{}
	var out []Delivery
	for _, n := range pending {
		if !wanted(n) {
			continue
		}
		q := queue{n.ICCID, n.Address}
		if stuck[q] {
			out = append(out, Delivery{n, errEarlier})
			continue
		}
		err := l.step(StepNotify, n.Event.String()+" to "+n.Address, func() error { return l.deliver(ctx, n) })
		stuck[q] = err != nil
		out = append(out, Delivery{n, err})
	}
	return out, nil
}

// deliver sends one notification and makes the chip forget it.
func (l *LPA) deliver(ctx context.Context, n rsp.NotificationMetadata) error {
	list, err := l.Chip.Retrieve(rsp.NotificationFilter{Sequence: &n.Sequence})
	if err != nil {
		return err
	}
	if len(list) != 1 {
		return mismatch("the eUICC has %d notifications with number %d", len(list), n.Sequence)
	}
	if l.Deliver != nil {
		err = l.Deliver(ctx, &list[0])
	} else if err = rsp.CheckAddress(n.Address); err != nil {
		err = &CheckError{err.Error()}
	} else {
		err = (&server{lpa: l, address: n.Address}).handleNotification(ctx, list[0].Raw)
	}
	if err != nil {
		return err
	}
	err = l.Chip.Remove(n.Sequence)
	if refused, ok := errors.AsType[*ChipError](err); ok && refused.Code == rsp.ResultNotFound {
		return nil // somebody else delivered it at the same time
	}
	return err
}

// notifyInstalled delivers the notifications of an installation. It goes on when
// the caller has given up: the profile is there, and the server should know.
func (l *LPA) notifyInstalled(ctx context.Context, r *Result) error {
	ctx, end := linger(ctx)
	defer end()
	deliveries, err := l.notify(ctx, func(n rsp.NotificationMetadata) bool {
		return n.Sequence == r.Notification.Metadata.Sequence ||
			n.Event == rsp.EventInstall && n.ICCID != "" && n.ICCID == r.Notification.Metadata.ICCID
	})
	for _, d := range deliveries {
		err = errors.Join(err, d.Err)
	}
	return err
}
