package db

import "context"

// alongKey is where a context keeps what goes along with its writes.
type alongKey struct{}

// An Along is called in every transaction of a context made by [WithAlong].
type Along interface {
	// Begin is called before the function given to Write, each time it is
	// tried.
	Begin()
	// Commit is called in the same transaction after the function has returned
	// nil. If it fails, so does the transaction.
	Commit(ctx context.Context, tx *Tx) error
}

// WithAlong returns a context under which a goes along with every [DB.Write],
// in its transaction. Who sees a request as a whole can so add to what the
// parts write, without their knowing.
func WithAlong(ctx context.Context, a Along) context.Context {
	return context.WithValue(ctx, alongKey{}, a)
}

// Apart returns a context under which nothing goes along any more: for writes
// that prepare a request's work but are not it.
func Apart(ctx context.Context) context.Context {
	return context.WithValue(ctx, alongKey{}, nil)
}

// joined returns fn together with what goes along with it.
func joined(ctx context.Context, fn func(*Tx) error) func(*Tx) error {
	a, _ := ctx.Value(alongKey{}).(Along)
	if a == nil {
		return fn
	}
	return func(tx *Tx) error {
		a.Begin()
		if err := fn(tx); err != nil {
			return err
		}
		return a.Commit(ctx, tx)
	}
}
