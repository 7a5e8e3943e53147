package device

import (
	"context"
	"slices"

	"godwit/db"
	"godwit/fault"
)

// A Put is what became of one record of a request that has several.
type Put[T any] struct {
	Item    T
	Created bool
	Err     error // a *fault.Error; then the rest says nothing
}

// putChunk is how many records one transaction stores.
const putChunk = 200

// putEach stores records, each for itself: what put refuses it refuses before it
// has written anything, and the others of its transaction stand.
func putEach[P, T any](ctx context.Context, d *db.DB, list []P, put func(*db.Tx, P) (T, bool, error)) ([]Put[T], error) {
	var all []Put[T]
	for part := range slices.Chunk(list, putChunk) {
		var puts []Put[T]
		err := d.Write(ctx, func(tx *db.Tx) error {
			puts = make([]Put[T], len(part))
			for i, p := range part {
				item, created, err := put(tx, p)
				if _, refused := fault.As(err); err != nil && !refused {
					return err
				}
				puts[i] = Put[T]{item, created, err}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		all = append(all, puts...)
	}
	return all, nil
}
