package db

import (
	"context"
	"database/sql"
	"errors"
)

// A Row is *sql.Row or *sql.Rows: what a function that reads one row is given.
type Row interface{ Scan(dest ...any) error }

// None reports whether an error says that a query found no row.
func None(err error) bool { return errors.Is(err, sql.ErrNoRows) }

// All returns everything that a query finds, nil for nothing. scan reads one row.
func All[T any](ctx context.Context, q Query, scan func(Row) (T, error), query string, args ...any) ([]T, error) {
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

// Only scans a row of one column.
func Only[T any](r Row) (value T, err error) {
	err = r.Scan(&value)
	return value, err
}

// Null turns an empty text into a null.
func Null(s string) sql.NullString { return sql.NullString{String: s, Valid: s != ""} }
