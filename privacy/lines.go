package privacy

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"godwit/db"
)

// linesBatch is how many chunks of orders, of 250 lines at most, are cleared in one
// transaction.
const linesBatch = 50

// expireLines takes the EIDs out of the lines of orders that are over. What is left
// of a line leads from a profile to its place in the customer's file.
func (s *Store) expireLines(ctx context.Context, age time.Duration, before time.Time, all Proof) error {
	for {
		n := 0
		proof := Proof{}
		err := s.DB.Write(ctx, func(tx *db.Tx) error {
			proof = Proof{}
			found, err := olderLines(ctx, tx, before)
			if err != nil {
				return err
			}
			n = len(found)
			for _, c := range found {
				rest, eids, err := withoutEIDs(c.lines)
				if err != nil {
					return fmt.Errorf("lines %d of order %s: %w", c.number, c.order, err)
				}
				if _, err := tx.ExecContext(ctx, `update bulk_lines set lines = $1, has_eid = false where order_sid = $2 and number = $3`,
					rest, c.order, c.number); err != nil {
					return fmt.Errorf("delete EIDs of order %s: %w", c.order, err)
				}
				proof.add("bulk_lines.eid", eids)
			}
			return s.expired(ctx, tx, "devices", age, proof)
		})
		if err != nil {
			return err
		}
		all.add("bulk_lines.eid", proof["bulk_lines.eid"])
		if n < linesBatch {
			return nil
		}
	}
}

// orderLines are the stored lines of one chunk of an order.
type orderLines struct {
	order  string
	number int64
	lines  string
}

func olderLines(ctx context.Context, tx *db.Tx, before time.Time) ([]orderLines, error) {
	found, err := db.All(ctx, tx, func(r db.Row) (c orderLines, err error) {
		err = r.Scan(&c.order, &c.number, &c.lines)
		return c, err
	}, `select order_sid, number, lines from bulk_lines where has_eid and created_at < $1
		and order_sid in (select sid from bulk_order where status in ('completed', 'canceled')) order by created_at limit `+fmt.Sprint(linesBatch),
		before.UnixMicro())
	if err != nil {
		return nil, fmt.Errorf("read lines of orders: %w", err)
	}
	return found, nil
}

// withoutEIDs returns stored lines without their EIDs, and how many there were.
func withoutEIDs(text string) (rest string, eids int64, err error) {
	var lines []map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &lines); err != nil {
		return "", 0, err
	}
	for _, line := range lines {
		eid, ok := line["e"]
		delete(line, "e")
		if ok && string(eid) != `""` { // an erasure has left that
			eids++
		}
	}
	left, err := json.Marshal(lines)
	return string(left), eids, err
}
