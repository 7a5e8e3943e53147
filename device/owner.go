package device

import (
	"context"

	"godwit/db"
	"godwit/fault"
)

// Owner returns the account of a device.
func (s *Store) Owner(ctx context.Context, q db.Query, id ID) (account string, err error) {
	d, err := readDevice(ctx, q, id, "")
	if none(err) {
		return "", fault.New(fault.NotFound, "there is no device %s", id)
	}
	return d.Account, err
}
