// Package dbtest gives every test its own real databases.
package dbtest

import (
	"testing"

	"godwit/db"
)

// Each runs body twice: on a fresh SQLite file and on a fresh PostgreSQL
// database. Where there is no PostgreSQL that half is skipped by name.
func Each(t *testing.T, body func(t *testing.T, d *db.DB)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { body(t, SQLite(t)) })
	t.Run("postgres", func(t *testing.T) { body(t, Postgres(t)) })
}
