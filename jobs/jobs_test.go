package jobs_test

import (
	"context"
	"testing"
	"time"

	"godwit/db"
	"godwit/db/dbtest"
	"godwit/jobs"
)

type greet struct{ Name string }

func (greet) Kind() string { return "greet" }

func TestSmoke(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		q, err := jobs.New(d)
		if err != nil {
			t.Fatal(err)
		}
		got := make(chan time.Time, 10)
		jobs.Register(q, func(ctx context.Context, j jobs.Job[greet]) error {
			got <- time.Now()
			return nil
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- q.Run(ctx) }()
		for range 5 {
			begun := time.Now()
			if err := d.Write(ctx, func(tx *db.Tx) error { return q.Add(ctx, tx, greet{"x"}) }); err != nil {
				t.Fatal(err)
			}
			w := time.Since(begun)
			end := <-got
			t.Log(w, end.Sub(begun))
		}
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
}
