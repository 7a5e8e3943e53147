package command

import (
	"context"
	"database/sql"
	"errors"

	"godwit/db"
	"godwit/sim"
)

// null turns an empty string into a null for the database.
func null(s string) sql.NullString { return sql.NullString{String: s, Valid: s != ""} }

// none reports whether a query found no row.
func none(err error) bool { return errors.Is(err, sql.ErrNoRows) }

// queryAll returns everything that a query finds.
func queryAll[T any](ctx context.Context, q db.Query, scan func(sim.Row) (T, error), query string, args ...any) ([]T, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []T
	for rows.Next() {
		one, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, rows.Err()
}
