package db

import "time"

// LongGroups has no group of writers end because it lasts too long.
func (d *DB) LongGroups() { d.group.time = time.Hour }

// Waiting returns how many writers wait for their turn.
func (d *DB) Waiting() int {
	d.group.mu.Lock()
	defer d.group.mu.Unlock()
	return len(d.group.queue)
}
