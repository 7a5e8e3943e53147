package jobs

import (
	"context"
	"database/sql"
	"fmt"

	"godwit/db"

	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riverdatabasesql"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivermigrate"
)

// Migration makes the queue's tables; give it to [db.Open].
var Migration = db.Migration{
	Name: "job queue",
	Migrate: func(ctx context.Context, pool *sql.DB, postgres bool) error {
		m, err := migrator(pool, postgres)
		if err != nil {
			return err
		}
		_, err = m.Migrate(ctx, rivermigrate.DirectionUp, nil)
		return err
	},
	Current: func(ctx context.Context, pool *sql.DB, postgres bool) (bool, error) {
		m, err := migrator(pool, postgres)
		if err != nil {
			return false, err
		}
		done, err := m.ExistingVersions(ctx)
		if err != nil {
			return false, fmt.Errorf("read its version: %w", err)
		}
		known := m.AllVersions()
		if len(done) > len(known) {
			return false, fmt.Errorf("%w: the job queue's tables have version %d, this program knows %d", db.ErrNewer, len(done), len(known))
		}
		return len(done) == len(known), nil
	},
}

func migrator(pool *sql.DB, postgres bool) (*rivermigrate.Migrator[*sql.Tx], error) {
	var driver riverdriver.Driver[*sql.Tx] = riversqlite.New(pool)
	if postgres {
		driver = riverdatabasesql.New(pool)
	}
	return rivermigrate.New(driver, &rivermigrate.Config{Logger: logger()})
}
