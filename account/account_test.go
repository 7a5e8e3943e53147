package account_test

import (
	"context"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"godwit/account"
	"godwit/db"
	"godwit/db/dbtest"
	"godwit/event"
	"godwit/fault"
)

func write(t testing.TB, d *db.DB, fn func(tx *db.Tx) error) {
	t.Helper()
	if err := d.Write(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

func create(t testing.TB, d *db.DB, s *account.Store, parent, name string) (a account.Account, token string) {
	t.Helper()
	write(t, d, func(tx *db.Tx) (err error) {
		a, token, err = s.Create(t.Context(), tx, parent, name)
		return err
	})
	return a, token
}

func TestSID(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		sid := account.NewSID("HP")
		if !regexp.MustCompile(`^HP[0-9a-f]{32}$`).MatchString(sid) || seen[sid] {
			t.Fatalf("made %s", sid)
		}
		seen[sid] = true
	}
}

func TestVerify(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s := account.New(d, event.New(d))
		a, token := create(t, d, s, "", "main")
		sub, subToken := create(t, d, s, a.SID, "sub")
		var key account.Key
		var secret string
		write(t, d, func(tx *db.Tx) (err error) {
			key, secret, err = s.CreateKey(t.Context(), tx, sub.SID, "ci")
			return err
		})
		// Client libraries refuse to send anything but letters and digits.
		for _, text := range []string{token, subToken, secret} {
			if !regexp.MustCompile(`^[0-9a-f]{32}$`).MatchString(text) {
				t.Errorf("credential %q", text)
			}
		}
		for _, tt := range []struct {
			name, user, password string
			want                 account.Caller
			ok                   bool
		}{
			{"account and token", a.SID, token, account.Caller{Account: a.SID}, true},
			{"subaccount and its token", sub.SID, subToken, account.Caller{Account: sub.SID}, true},
			{"key and secret", key.SID, secret, account.Caller{Account: sub.SID, Key: key.SID}, true},
			{"the parent's token on the subaccount", sub.SID, token, account.Caller{}, false},
			{"account with the key's secret", sub.SID, secret, account.Caller{}, false},
			{"wrong token", a.SID, "0" + token[1:] + "0", account.Caller{}, false},
			{"token in capitals", a.SID, strings.ToUpper(token) + "A", account.Caller{}, false},
			{"empty token", a.SID, "", account.Caller{}, false},
			{"nobody", "", "", account.Caller{}, false},
			{"unknown account", account.NewSID("AC"), token, account.Caller{}, false},
			{"unknown key", account.NewSID("SK"), secret, account.Caller{}, false},
			{"another prefix", "XX" + a.SID[2:], token, account.Caller{}, false},
			{"SQL in the name", "AC' or '1'='1", token, account.Caller{}, false},
			{"a zero character in the name", a.SID[:33] + "\x00", token, account.Caller{}, false},
			{"a name that is no text", "SK\xff\xfe", token, account.Caller{}, false},
			{"user and password moved by one", a.SID + token[:1], token[1:], account.Caller{}, false},
		} {
			t.Run(tt.name, func(t *testing.T) {
				for range 2 { // read, then remembered
					got, err := s.Verify(t.Context(), tt.user, tt.password)
					if got != tt.want || (err == nil) != tt.ok {
						t.Errorf("got %+v, %v", got, err)
					}
					if err != nil && !fault.Is(err, fault.Unauthorized) {
						t.Errorf("refused with %v", err)
					}
				}
			})
		}
	})
}

// TestWithdrawn checks that what is withdrawn is refused at once on the node that
// withdrew it, and after CacheTime on others.
func TestWithdrawn(t *testing.T) {
	dbtest.EachURL(t, func(t *testing.T, url string) {
		d := dbtest.Open(t, url)
		s := account.New(d, event.New(d))
		otherDB := dbtest.Open(t, url)
		other := account.New(otherDB, event.New(otherDB))
		now := time.Now()
		other.Now = func() time.Time { return now }
		a, token := create(t, d, s, "", "main")
		var key account.Key
		var secret string
		write(t, d, func(tx *db.Tx) (err error) {
			key, secret, err = s.CreateKey(t.Context(), tx, a.SID, "ci")
			return err
		})
		check := func(s *account.Store, user, password string, want bool) {
			t.Helper()
			if _, err := s.Verify(t.Context(), user, password); (err == nil) != want {
				t.Errorf("Verify(%s): %v, want ok %v", user[:2], err, want)
			}
		}
		everywhere := func(want bool) {
			t.Helper()
			for _, s := range []*account.Store{s, other} {
				check(s, a.SID, token, want)
				check(s, key.SID, secret, want)
			}
		}
		everywhere(true)

		write(t, d, func(tx *db.Tx) error { return s.DeleteKey(t.Context(), tx, a.SID, key.SID) })
		check(s, key.SID, secret, false)
		check(other, key.SID, secret, true)
		now = now.Add(account.CacheTime + time.Second)
		check(other, key.SID, secret, false)

		old := token
		write(t, d, func(tx *db.Tx) (err error) {
			token, err = s.RotateToken(t.Context(), tx, a.SID)
			return err
		})
		check(s, a.SID, old, false)
		check(s, a.SID, token, true)
		for name, read := range map[string]func() (db.Secret, error){
			"for signing": func() (db.Secret, error) {
				signing, err := s.Signing(t.Context(), a.SID)
				return signing.Token, err
			},
			"by reading": func() (got db.Secret, err error) {
				err = d.Read(t.Context(), func(q db.Query) error { got, err = s.Token(t.Context(), q, a.SID); return err })
				return got, err
			},
		} {
			if got, err := read(); err != nil || string(got) != token {
				t.Errorf("token %s: %v", name, err)
			}
		}

		write(t, d, func(tx *db.Tx) error { return s.SetStatus(t.Context(), tx, a.SID, account.Suspended) })
		check(s, a.SID, token, false)
		write(t, d, func(tx *db.Tx) error { return s.SetStatus(t.Context(), tx, a.SID, account.Active) })
		check(s, a.SID, token, true)
		write(t, d, func(tx *db.Tx) error { return s.SetStatus(t.Context(), tx, a.SID, account.Closed) })
		check(s, a.SID, token, false)
		if err := d.Write(t.Context(), func(tx *db.Tx) error { return s.SetStatus(t.Context(), tx, a.SID, account.Active) }); !fault.Is(err, fault.Conflict) {
			t.Errorf("a closed account came back: %v", err)
		}
	})
}

// TestRotatedWhileRead: a token that is replaced at any moment while somebody
// reads what signs is not remembered.
func TestRotatedWhileRead(t *testing.T) {
	d := dbtest.SQLite(t)
	s := account.New(d, event.New(d))
	a, _ := create(t, d, s, "", "main")
	if _, err := s.Signing(t.Context(), a.SID); err != nil { // makes its settings
		t.Fatal(err)
	}
	for at := 1; at < 5; at++ {
		write(t, d, func(tx *db.Tx) error { // so that all is to be read anew
			_, err := s.RotateToken(t.Context(), tx, a.SID)
			return err
		})
		var token string
		looks := 0
		s.Now = func() time.Time { // it is asked the time now and then
			if looks++; looks == at {
				s.Now = time.Now
				write(t, d, func(tx *db.Tx) (err error) {
					token, err = s.RotateToken(t.Context(), tx, a.SID)
					return err
				})
			}
			return time.Now()
		}
		if _, err := s.Signing(t.Context(), a.SID); err != nil {
			t.Fatal(err)
		}
		s.Now = time.Now
		if got, err := s.Signing(t.Context(), a.SID); err != nil || token != "" && string(got.Token) != token {
			t.Errorf("rotated at look %d: signs with another token than the account's, %v", at, err)
		}
	}
}

// TestTokenIsSealed looks at what is stored.
func TestTokenIsSealed(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s := account.New(d, event.New(d))
		a, token := create(t, d, s, "", "main")
		b, _ := create(t, d, s, "", "other")
		var sealed, hash []byte
		if err := d.Read(t.Context(), func(q db.Query) error {
			return q.QueryRowContext(t.Context(), `select token_sealed, token_hash from account where sid = $1`, a.SID).Scan(&sealed, &hash)
		}); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(sealed)+string(hash), token) {
			t.Error("the token is stored as it is")
		}
		// A sealed token that is put into another's row does not open.
		write(t, d, func(tx *db.Tx) error {
			_, err := tx.ExecContext(t.Context(), `update account set token_sealed = $1 where sid = $2`, sealed, b.SID)
			return err
		})
		if _, err := s.Signing(t.Context(), b.SID); err == nil {
			t.Error("another account's token opened")
		}
	})
}

func TestAccounts(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		events := event.New(d)
		s := account.New(d, events)
		main, _ := create(t, d, s, "", "main")
		var subs []account.Account
		for _, name := range []string{"a", "b", "c"} {
			sub, _ := create(t, d, s, main.SID, name)
			subs = append(subs, sub)
		}
		if err := d.Write(t.Context(), func(tx *db.Tx) error {
			_, _, err := s.Create(t.Context(), tx, subs[0].SID, "too deep")
			return err
		}); !fault.Is(err, fault.Conflict) {
			t.Errorf("a subaccount of a subaccount: %v", err)
		}
		if err := d.Write(t.Context(), func(tx *db.Tx) error {
			_, _, err := s.Create(t.Context(), tx, account.NewSID("AC"), "orphan")
			return err
		}); !fault.Is(err, fault.NotFound) {
			t.Errorf("a subaccount of nobody: %v", err)
		}
		if err := d.Read(t.Context(), func(q db.Query) error {
			mains, err := s.List(t.Context(), q, "", account.Account{}, 10)
			if err != nil || len(mains) != 1 || mains[0].SID != main.SID || mains[0].Parent != "" {
				t.Errorf("main accounts %+v, %v", mains, err)
			}
			var names string
			for last := (account.Account{}); ; {
				page, err := s.List(t.Context(), q, main.SID, last, 2)
				if err != nil {
					return err
				}
				for _, a := range page {
					names += a.Name
					last = a
				}
				if len(page) < 2 {
					break
				}
			}
			if names != "abc" {
				t.Errorf("subaccounts %s", names)
			}
			got, err := s.Get(t.Context(), q, subs[1].SID)
			if err != nil || got.Parent != main.SID || got.Name != "b" || got.Status != account.Active {
				t.Errorf("got %+v, %v", got, err)
			}
			history, err := events.List(t.Context(), q, event.Filter{Subject: subs[1].SID})
			if err != nil || len(history) != 1 || history[0].Kind != "account.created" {
				t.Errorf("history %+v, %v", history, err)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	})
}

func TestKeys(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s := account.New(d, event.New(d))
		a, _ := create(t, d, s, "", "main")
		b, _ := create(t, d, s, "", "other")
		var made []account.Key
		for _, name := range []string{"x", "y", "z"} {
			var k account.Key
			write(t, d, func(tx *db.Tx) (err error) {
				k, _, err = s.CreateKey(t.Context(), tx, a.SID, name)
				return err
			})
			made = append(made, k)
		}
		if err := d.Read(t.Context(), func(q db.Query) error {
			first, err := s.Keys(t.Context(), q, a.SID, 0, 2)
			if err != nil || len(first) != 2 || first[0].Name != "x" {
				t.Fatalf("first page %+v, %v", first, err)
			}
			rest, err := s.Keys(t.Context(), q, a.SID, 2, 2)
			if err != nil || len(rest) != 1 || rest[0].SID != made[2].SID || rest[0].Account != a.SID {
				t.Errorf("second page %+v, %v", rest, err)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		for name, err := range map[string]error{
			"another account's": d.Write(t.Context(), func(tx *db.Tx) error { return s.DeleteKey(t.Context(), tx, b.SID, made[0].SID) }),
			"of nobody": d.Write(t.Context(), func(tx *db.Tx) error {
				_, _, err := s.CreateKey(t.Context(), tx, account.NewSID("AC"), "x")
				return err
			}),
		} {
			if !fault.Is(err, fault.NotFound) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	d := dbtest.SQLite(b)
	s := account.New(d, event.New(d))
	a, token := create(b, d, s, "", "main")
	for b.Loop() {
		if _, err := s.Verify(context.Background(), a.SID, token); err != nil {
			b.Fatal(err)
		}
	}
}

// TestSecretsAtOnce: of secrets that are made at the same time one signs, and
// nobody is told of a trouble.
func TestSecretsAtOnce(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s := account.New(d, event.New(d))
		a, _ := create(t, d, s, "", "main")
		var group errgroup.Group
		for range 8 {
			group.Go(func() error {
				return d.Write(t.Context(), func(tx *db.Tx) error {
					_, _, err := s.CreateSecret(t.Context(), tx, a.SID, "x")
					return err
				})
			})
		}
		if err := group.Wait(); err != nil {
			t.Error(err)
		}
		if err := d.Read(t.Context(), func(q db.Query) error {
			active, n, err := s.Secrets(t.Context(), q, a.SID, account.SecretActive, 0, 10)
			if err != nil || n != 1 || len(active) != 1 {
				t.Errorf("%d sign, %v", n, err)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	})
}

// Names that no database can hold are unknown like others: strangers send them.
func TestNamesThatAreNoText(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s := account.New(d, event.New(d))
		for _, name := range []string{"apiclient_\x00", "\xff\xfe", "schlüssel"} {
			if _, err := s.VerifyClient(t.Context(), name, "x"); !fault.Is(err, fault.Unauthorized) {
				t.Errorf("client %q: %v", name, err)
			}
			if _, err := s.VerifyUserKey(t.Context(), name, "x"); !fault.Is(err, fault.Unauthorized) {
				t.Errorf("user's key %q: %v", name, err)
			}
		}
	})
}
