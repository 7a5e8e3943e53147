package event

import (
	"context"
	"fmt"

	"godwit/db"
	"godwit/query"
)

// Schema is the fields by which an account's events are listed.
var Schema = &query.Schema{
	Key: "id", DefaultOrder: "id desc",
	Fields: []query.Field{
		{Name: "id", Kind: query.Number, SQL: "id"},
		{Name: "kind", SQL: "kind", Folded: "kind"}, // small letters by agreement
		{Name: "subject", SQL: "subject"},
		{Name: "start_time", Kind: query.Time, SQL: "at"},
		{Name: "end_time", Kind: query.Time, SQL: "at"},
	},
}

// Page returns a page of an account's events, by [Schema].
func (l *Log) Page(ctx context.Context, account string, spec query.Spec) (p query.Page[Event], err error) {
	type found struct {
		event Event
		value any
	}
	err = l.db.Read(ctx, func(q db.Query) error {
		s := spec.SQL(2)
		rows, err := q.QueryContext(ctx, fmt.Sprintf(`select %s, %s from event where account = $1 and %s order by %s limit %d`,
			s.Column, columns, s.Where, s.OrderBy, s.Limit), append([]any{account}, s.Args...)...)
		if err != nil {
			return err
		}
		defer rows.Close()
		var list []found
		for rows.Next() {
			var f found
			if f.event, err = scan(rows, &f.value); err != nil {
				return err
			}
			list = append(list, f)
		}
		if err := rows.Err(); err != nil {
			return err
		}
		page := query.NextPage(spec, list, func(f found) (value, key any) { return f.value, f.event.ID })
		p = query.Page[Event]{Next: page.Next}
		for _, f := range page.Items {
			p.Items = append(p.Items, f.event)
		}
		return nil
	})
	if err != nil {
		return p, fmt.Errorf("list events of %s: %w", account, err)
	}
	return p, nil
}
