package db

import (
	"context"
	"time"
)

// LongGroups has no group of writers end because it lasts too long.
func (d *DB) LongGroups() { d.group.time = time.Hour }

// Waiting returns how many writers wait for their turn.
func (d *DB) Waiting() int {
	d.group.mu.Lock()
	defer d.group.mu.Unlock()
	return len(d.group.queue)
}

// MigrateTo brings the schema to a version, backwards too, or to the newest for 0.
func (d *DB) MigrateTo(ctx context.Context, version int64) error {
	p, err := d.provider()
	if err != nil {
		return err
	}
	if version == 0 {
		_, err = p.Up(ctx)
		return err
	}
	_, err = p.DownTo(ctx, version)
	return err
}
