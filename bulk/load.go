package bulk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"godwit/db"
	"godwit/fault"
)

const (
	// chunkItems is how many profiles one chunk reserves. More would be hardly
	// faster, and all who write wait for a chunk that is under way.
	chunkItems = 250
	// loadAtOnce is how many chunks' lines one transaction stores.
	loadAtOnce = 80
	// staleLoad is how old lines without an order are when they are swept away.
	staleLoad = time.Hour
)

// A chunk is what one transaction reserves of an order.
type chunk struct {
	number, first, items int64
}

// A loader cuts lines into chunks and stores them.
type loader struct {
	s       *Store
	order   string
	dry     bool
	created time.Time

	pieces  []piece
	items   int64 // in pieces
	chunks  []chunk
	waiting [][]any // rows that are to be stored
}

// add takes one line.
func (l *loader) add(ctx context.Context, line Line) error {
	for left := line.Count; left > 0; {
		n := min(left, chunkItems-l.items)
		p := piece{Line: line.Number, EID: line.EID, Type: line.Type, Label: line.Label}
		if n > 1 {
			p.Count = n
		}
		l.pieces, l.items, left = append(l.pieces, p), l.items+n, left-n
		if l.items == chunkItems {
			if err := l.cut(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// cut ends a chunk.
func (l *loader) cut(ctx context.Context) error {
	c := chunk{number: int64(len(l.chunks)), first: 1, items: l.items}
	if len(l.chunks) > 0 {
		last := l.chunks[len(l.chunks)-1]
		c.first = last.first + last.items
	}
	l.chunks = append(l.chunks, c)
	if !l.dry {
		text, err := json.Marshal(l.pieces)
		if err != nil {
			return fmt.Errorf("write lines: %w", err)
		}
		l.waiting = append(l.waiting, []any{l.order, c.number, string(text), l.created.UnixMicro()})
	}
	l.pieces, l.items = l.pieces[:0], 0
	if len(l.waiting) == loadAtOnce {
		return l.store(ctx)
	}
	return nil
}

func (l *loader) store(ctx context.Context) error {
	if len(l.waiting) == 0 {
		return nil
	}
	err := l.s.DB.Write(db.Apart(ctx), func(tx *db.Tx) error {
		_, err := tx.ExecMany(ctx, `insert into bulk_lines (order_sid, number, lines, created_at) values {}`, nil, l.waiting)
		return err
	})
	if err != nil {
		return fmt.Errorf("store lines of an order: %w", err)
	}
	l.waiting = l.waiting[:0]
	return nil
}

// end stores what is left.
func (l *loader) end(ctx context.Context) error {
	if l.items > 0 {
		if err := l.cut(ctx); err != nil {
			return err
		}
	}
	return l.store(ctx)
}

// drop removes what was stored for an order that is not taken.
func (l *loader) drop(ctx context.Context) error {
	if l.dry || len(l.chunks) == 0 {
		return nil
	}
	return l.s.DB.Write(db.Apart(context.WithoutCancel(ctx)), func(tx *db.Tx) error {
		_, err := tx.ExecContext(ctx, `delete from bulk_lines where order_sid = $1`, l.order)
		return err
	})
}

// sweep removes what processes that died have left of orders that they never
// took.
func (s *Store) sweep(ctx context.Context) error {
	return s.DB.Write(ctx, func(tx *db.Tx) error {
		_, err := tx.ExecContext(ctx, `delete from bulk_lines where created_at < $1
			and order_sid not in (select sid from bulk_order)`, s.now().Add(-staleLoad).UnixMicro())
		return err
	})
}

// read takes in all lines of a request. Problems of lines are in the plan; an
// error means that the whole request cannot be read.
func (s *Store) read(ctx context.Context, r Request, lines Lines, l *loader) (*Plan, error) {
	plan := &Plan{}
	wanted := map[string]int64{}
	known := map[string]bool{}
	firstAt := map[[16]byte]int{} // EID → line
	for {
		line, err := lines.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if bad, ok := errors.AsType[*Problem](err); ok {
			plan.Lines++
			plan.problem(*bad)
			continue
		}
		if err != nil {
			return nil, err
		}
		plan.Lines++
		if line.Type == "" {
			line.Type = r.Type
		}
		if bad, err := s.check(ctx, line, known, firstAt); err != nil {
			return nil, err
		} else if bad != nil {
			plan.problem(*bad)
			continue
		}
		if plan.Total += line.Count; plan.Total > MaxItems {
			return nil, fault.Field("Count", "the order wants more than %d profiles; divide it", MaxItems)
		}
		wanted[line.Type] += line.Count
		if len(plan.Problems) > 0 {
			continue // it will not be taken; only the problems matter now
		}
		if err := l.add(ctx, line); err != nil {
			return nil, err
		}
	}
	if plan.Lines == 0 {
		return nil, fault.Field("File", "has no line that asks for a profile")
	}
	if err := l.end(ctx); err != nil {
		return nil, err
	}
	return plan, s.demand(ctx, plan, wanted)
}

// check looks for what is wrong with a line beyond its form.
func (s *Store) check(ctx context.Context, line Line, known map[string]bool, firstAt map[[16]byte]int) (*Problem, error) {
	if _, ok := known[line.Type]; !ok {
		known[line.Type] = true
		if s.Stock != nil {
			_, is, err := s.Stock.InStock(ctx, line.Type, 1)
			if err != nil {
				return nil, err
			}
			known[line.Type] = is
		}
	}
	if !known[line.Type] {
		return &Problem{line.Number, "profile_type", fmt.Sprintf("there is no profile type %.40q", line.Type)}, nil
	}
	if line.EID != "" {
		at := packed(line.EID)
		if first, twice := firstAt[at]; twice {
			return &Problem{line.Number, "eid", fmt.Sprintf("is on line %d already: each eUICC gets one profile of an order", first)}, nil
		}
		firstAt[at] = line.Number
	}
	return nil, nil
}

// packed is an EID in half its octets: a million of them are remembered.
func packed(eid string) (b [16]byte) {
	for i := range b {
		b[i] = (eid[2*i]-'0')<<4 | (eid[2*i+1] - '0')
	}
	return b
}

func (s *Store) demand(ctx context.Context, plan *Plan, wanted map[string]int64) error {
	for profileType, n := range wanted {
		d := Demand{Type: profileType, Wanted: n, InStock: -1}
		if s.Stock != nil {
			var err error
			if d.InStock, _, err = s.Stock.InStock(ctx, profileType, n); err != nil {
				return err
			}
		}
		plan.Types = append(plan.Types, d)
	}
	slices.SortFunc(plan.Types, func(a, b Demand) int { return strings.Compare(a.Type, b.Type) })
	return nil
}
