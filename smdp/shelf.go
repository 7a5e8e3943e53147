package smdp

import (
	"context"
	"fmt"
	"sync"

	"godwit/db"
	"godwit/ident"
)

// A shelf hands out profiles of each type during one transaction, fetched many
// at a time.
type shelf struct {
	op     *Operator
	places *places
	known  map[string]bool // profile types that exist, of those that are asked for
	expect int             // about how many the whole transaction will take
	tx     *db.Tx          // the shelf is empty again in another transaction
	got    map[string][]ident.ICCID
	last   map[string]bool // there is no more than was got: asking again could bring the same ones
}

func (s *Server) shelf(op *Operator, expect int) *shelf {
	return &shelf{op: op, places: &s.places, known: map[string]bool{}, expect: expect}
}

// take returns the next profile of a type in stock, or false when none is left.
func (h *shelf) take(ctx context.Context, tx *db.Tx, profileType string) (ident.ICCID, bool, error) {
	if h.tx != tx {
		h.tx, h.got, h.last = tx, map[string][]ident.ICCID{}, map[string]bool{}
	}
	if len(h.got[profileType]) == 0 && !h.last[profileType] {
		list, err := h.fetch(ctx, tx, profileType, h.expect)
		if err != nil {
			return "", false, err
		}
		h.got[profileType], h.last[profileType] = list, len(list) < h.expect
	}
	if len(h.got[profileType]) == 0 {
		return "", false, nil
	}
	iccid := h.got[profileType][0]
	h.got[profileType] = h.got[profileType][1:]
	return iccid, true, nil
}

// fetch reads up to n profiles in stock that the operator may have: of the
// oldest load first, in each those behind the last that were fetched, and only
// where all loads together have too few of them those before.
func (h *shelf) fetch(ctx context.Context, tx *db.Tx, profileType string, n int) ([]ident.ICCID, error) {
	batches, err := db.All(ctx, tx, db.Only[string], `select id from stock_batch where profile_type = $1 and visible order by id`, profileType)
	if err != nil {
		return nil, fmt.Errorf("read stock of %s: %w", profileType, err)
	}
	at := make([]ident.ICCID, len(batches))
	for i, batch := range batches {
		at[i] = h.places.get(place{batch, h.op.ID})
	}
	var list []ident.ICCID
	for _, side := range []string{">", "<="} {
		for i, batch := range batches {
			if side == "<=" && at[i] == "" {
				continue
			}
			// SQLite plans a statement anew each time a parameter is its limit.
			more, err := db.All(ctx, tx, db.Only[ident.ICCID], fmt.Sprintf(`select iccid from profile where profile_type = $1 and batch = $2
				and state = 'available' and owner in ('', $3) and iccid %s $4 order by iccid limit %d`, side, n-len(list))+tx.SkipLocked(),
				profileType, batch, h.op.ID, string(at[i]))
			if err != nil {
				return nil, fmt.Errorf("read stock of %s: %w", profileType, err)
			}
			if len(more) > 0 {
				h.places.set(place{batch, h.op.ID}, more[len(more)-1])
			}
			if list = append(list, more...); len(list) == n {
				return list, nil
			}
		}
	}
	return list, nil
}

// places are where in each load this node has last fetched. Whoever begins there
// does not come into the way of those who are at work before, and on PostgreSQL
// does not walk past what is gone, which stays in the index until the next vacuum.
// They are no more than hints.
type places struct {
	mu   sync.Mutex
	last map[place]ident.ICCID
}

type place struct{ batch, operator string }

func (p *places) get(at place) ident.ICCID {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last[at]
}

func (p *places) set(at place, iccid ident.ICCID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last == nil {
		p.last = map[place]ident.ICCID{}
	}
	p.last[at] = iccid
}
