package privacy

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"godwit/db"
)

// isNone reports whether a query found no row.
func isNone(err error) bool { return errors.Is(err, sql.ErrNoRows) }

// texts returns a column of text.
func texts(ctx context.Context, q db.Query, query string, args ...any) (all []string, err error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("look for what is to be deleted: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var one string
		if err := rows.Scan(&one); err != nil {
			return nil, fmt.Errorf("look for what is to be deleted: %w", err)
		}
		all = append(all, one)
	}
	return all, rows.Err()
}
