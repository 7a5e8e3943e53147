package account

import (
	"context"
	"errors"
	"testing"

	"godwit/db"
	"godwit/db/dbtest"
	"godwit/event"
)

// TestStoringAPasswordWaitsForNobody: while all that may hash are busy, with
// strangers who guess for instance, whoever stores a user holds the database up
// for no longer than that takes.
func TestStoringAPasswordWaitsForNobody(t *testing.T) {
	d := dbtest.SQLite(t)
	ctx := t.Context()
	s := New(d, event.New(d))
	var a Account
	if err := d.Write(ctx, func(tx *db.Tx) (err error) {
		a, _, err = s.Create(ctx, tx, "", "main")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	password, err := NewPassword(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	for range cap(hashing) {
		hashing <- struct{}{}
		defer func() { <-hashing }()
	}
	if err := d.Write(ctx, func(tx *db.Tx) error {
		if _, err := s.CreateUser(ctx, tx, User{Name: "ada", Account: a.SID, Role: Administrator}, password, false); err != nil {
			return err
		}
		return s.SetPassword(ctx, tx, a.SID, "ada", password)
	}); err != nil {
		t.Error(err)
	}
	gone, leave := context.WithCancel(ctx)
	leave()
	if _, err := NewPassword(gone, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("hashed without its turn: %v", err)
	}
}
