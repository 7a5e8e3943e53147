package account_test

import (
	"testing"
	"time"

	"godwit/account"
	"godwit/db"
	"godwit/db/dbtest"
	"godwit/event"
	"godwit/fault"
)

func newUser(t testing.TB, d *db.DB, s *account.Store, sid, name string, role account.Role) (password string) {
	t.Helper()
	made := passwordOf(t, "")
	write(t, d, func(tx *db.Tx) error {
		_, err := s.CreateUser(t.Context(), tx, account.User{Name: name, Account: sid, Role: role}, made, true)
		return err
	})
	return string(made.Text)
}

func passwordOf(t testing.TB, text string) account.Password {
	t.Helper()
	p, err := account.NewPassword(t.Context(), text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestUsers(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		ctx := t.Context()
		s := account.New(d, event.New(d))
		a, _ := create(t, d, s, "", "main")
		password := newUser(t, d, s, a.SID, "Ada@example.com", account.Administrator)
		c, err := s.VerifyUser(ctx, "ada@EXAMPLE.com", password)
		if err != nil || c.Account != a.SID || c.User != "ada@example.com" || c.Role != account.Administrator {
			t.Fatalf("logged in as %+v: %v", c, err)
		}
		for _, pair := range [][2]string{{"ada@example.com", password + "x"}, {"ada@example.com", ""}, {"nobody", password}, {"", ""}, {a.SID, password}, {"ada@example.com\x00", password}} {
			for range 2 { // the second time from memory
				if _, err := s.VerifyUser(ctx, pair[0], pair[1]); !fault.Is(err, fault.Unauthorized) {
					t.Errorf("%q: %v", pair[0], err)
				}
			}
		}
		refuse(t, d, "another of this name", fault.Conflict, func(tx *db.Tx) error {
			_, err := s.CreateUser(ctx, tx, account.User{Name: "ADA@example.com", Account: a.SID, Role: account.ReadOnly}, account.Password{}, false)
			return err
		})
		for name, u := range map[string]account.User{"a colon": {Name: "a:b", Account: a.SID, Role: account.ReadOnly}, "no role": {Name: "b", Account: a.SID}} {
			refuse(t, d, name, fault.Invalid, func(tx *db.Tx) error {
				_, err := s.CreateUser(ctx, tx, u, account.Password{}, false)
				return err
			})
		}
		if _, err := account.NewPassword(ctx, "1234567"); !fault.Is(err, fault.Invalid) {
			t.Errorf("a short password: %v", err)
		}
		refuse(t, d, "the last administrator's role", fault.Conflict, func(tx *db.Tx) error {
			_, err := s.SetRole(ctx, tx, a.SID, "ada@example.com", account.ReadOnly)
			return err
		})
		refuse(t, d, "the last administrator", fault.Conflict, func(tx *db.Tx) error { return s.DeleteUser(ctx, tx, a.SID, "ada@example.com") })
		newUser(t, d, s, a.SID, "bob", account.Administrator)
		write(t, d, func(tx *db.Tx) error {
			_, err := s.SetRole(ctx, tx, a.SID, "ada@example.com", account.ReadOnly)
			return err
		})
		if c, err := s.VerifyUser(ctx, "ada@example.com", password); err != nil || c.Role.Writes() {
			t.Errorf("after the change of role: %+v, %v", c, err)
		}
		// Read again, until it is changed.
		if name, read, err := readPassword(t, d, s, a.SID); err != nil || name != "ada@example.com" || string(read) != password {
			t.Errorf("recovered %s: %v", name, err)
		}
		if _, err := s.VerifyUser(ctx, "ada@example.com", "a new one"); !fault.Is(err, fault.Unauthorized) {
			t.Error(err)
		}
		another := passwordOf(t, "a new one")
		write(t, d, func(tx *db.Tx) error { return s.SetPassword(ctx, tx, a.SID, "ada@example.com", another) })
		if _, err := s.VerifyUser(ctx, "ada@example.com", password); !fault.Is(err, fault.Unauthorized) {
			t.Errorf("the old password: %v", err)
		}
		if _, err := s.VerifyUser(ctx, "ada@example.com", "a new one"); err != nil {
			t.Errorf("the new password, which was wrong a moment ago: %v", err)
		}
		if name, _, _ := readPassword(t, d, s, a.SID); name != "bob" {
			t.Errorf("recovered %q after the change", name)
		}
		write(t, d, func(tx *db.Tx) error { return s.DeleteUser(ctx, tx, a.SID, "ada@example.com") })
		if _, err := s.VerifyUser(ctx, "ada@example.com", "a new one"); !fault.Is(err, fault.Unauthorized) {
			t.Errorf("a user who was removed: %v", err)
		}
		sub, _ := create(t, d, s, a.SID, "sub")
		subPassword := newUser(t, d, s, sub.SID, "sue", account.Application)
		write(t, d, func(tx *db.Tx) error { return s.SetStatus(ctx, tx, sub.SID, account.Suspended) })
		if _, err := s.VerifyUser(ctx, "sue", subPassword); !fault.Is(err, fault.Unauthorized) {
			t.Errorf("a user of a suspended account: %v", err)
		}
	})
}

func refuse(t testing.TB, d *db.DB, what string, kind fault.Kind, fn func(tx *db.Tx) error) {
	t.Helper()
	if err := d.Write(t.Context(), fn); !fault.Is(err, kind) {
		t.Errorf("%s: %v", what, err)
	}
}

func readPassword(t testing.TB, d *db.DB, s *account.Store, sid string) (name string, password db.Secret, err error) {
	t.Helper()
	err = d.Read(t.Context(), func(q db.Query) error {
		name, password, err = s.UserPassword(t.Context(), q, sid)
		return err
	})
	return name, password, err
}

func TestUserKeys(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		ctx := t.Context()
		s := account.New(d, event.New(d))
		now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		s.Now = func() time.Time { return now }
		a, _ := create(t, d, s, "", "main")
		newUser(t, d, s, a.SID, "ada", account.ReadOnlyApplication)
		make := func(tx *db.Tx, life time.Duration) (account.UserKey, string, error) {
			return s.CreateUserKey(ctx, tx, a.SID, "ada", "ci", life)
		}
		refuse(t, d, "a key that nobody allowed", fault.Forbidden, func(tx *db.Tx) error {
			_, _, err := make(tx, 0)
			return err
		})
		write(t, d, func(tx *db.Tx) error { return s.AllowAPIKeys(ctx, tx, a.SID, true) })
		refuse(t, d, "a key for longer than a year", fault.Invalid, func(tx *db.Tx) error {
			_, _, err := make(tx, account.KeyLife+time.Second)
			return err
		})
		var k, brief account.UserKey
		var secret, briefSecret string
		write(t, d, func(tx *db.Tx) (err error) {
			if k, secret, err = make(tx, 0); err != nil {
				return err
			}
			brief, briefSecret, err = make(tx, 10*time.Second)
			return err
		})
		if !k.ExpiresAt.Equal(now.Add(account.KeyLife)) {
			t.Errorf("expires at %v", k.ExpiresAt)
		}
		if c, err := s.VerifyUserKey(ctx, k.ID, secret); err != nil || c.User != "ada" || c.Account != a.SID || c.Key != k.ID || c.Role != account.ReadOnlyApplication {
			t.Errorf("%+v, %v", c, err)
		}
		if _, err := s.VerifyUserKey(ctx, k.ID, briefSecret); !fault.Is(err, fault.Unauthorized) {
			t.Errorf("another key's secret: %v", err)
		}
		if _, err := s.VerifyUserKey(ctx, brief.ID, briefSecret); err != nil {
			t.Error(err)
		}
		now = now.Add(10 * time.Second)
		if _, err := s.VerifyUserKey(ctx, brief.ID, briefSecret); !fault.Is(err, fault.Unauthorized) {
			t.Errorf("an expired key, which memory has: %v", err)
		}
		write(t, d, func(tx *db.Tx) error { return s.AllowAPIKeys(ctx, tx, a.SID, false) })
		if _, err := s.VerifyUserKey(ctx, k.ID, secret); !fault.Is(err, fault.Unauthorized) {
			t.Errorf("a key while keys are off: %v", err)
		}
		write(t, d, func(tx *db.Tx) error { return s.AllowAPIKeys(ctx, tx, a.SID, true) })
		if _, err := s.VerifyUserKey(ctx, k.ID, secret); err != nil {
			t.Error(err)
		}
		write(t, d, func(tx *db.Tx) error { return s.DeleteUserKey(ctx, tx, a.SID, "ada", k.ID) })
		if _, err := s.VerifyUserKey(ctx, k.ID, secret); !fault.Is(err, fault.Unauthorized) {
			t.Errorf("a key that was withdrawn: %v", err)
		}
		refuse(t, d, "a key that is gone", fault.NotFound, func(tx *db.Tx) error { return s.DeleteUserKey(ctx, tx, a.SID, "ada", k.ID) })
	})
}

func TestCustomers(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s := account.New(d, event.New(d))
		first, _ := create(t, d, s, "", "main")
		second, _ := create(t, d, s, first.SID, "sub")
		if err := d.Read(t.Context(), func(q db.Query) error {
			a, err := s.Customer(t.Context(), q, first.SID)
			if err != nil {
				return err
			}
			b, err := s.Customer(t.Context(), q, second.SID)
			if err != nil {
				return err
			}
			if a.ID == 0 || b.ID != a.ID+1 || a.APIKeys {
				t.Errorf("%+v and %+v", a, b)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	})
}
