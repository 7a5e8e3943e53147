package carrier

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"godwit/db"
	"godwit/db/dbtest"
	"godwit/fault"
	"godwit/ident"
	"godwit/milenage"
	"godwit/saip"
)

const imsi ident.IMSI = "262421234567890"

func subscriber() Subscriber {
	return Subscriber{
		IMSI: imsi, ICCID: "8949000000000000017", K: bytes.Repeat([]byte{1}, 16), OPc: bytes.Repeat([]byte{2}, 16),
		Attach: true, Data: true, SMS: true,
	}
}

// card is the USIM of a profile made from our template with the subscriber's
// keys.
func card(t testing.TB, s Subscriber) *milenage.USIM {
	t.Helper()
	der, err := saip.MinimalUSIM().Personalise(&saip.Personal{ICCID: s.ICCID, IMSI: s.IMSI, Algorithm: s.Algorithm, K: s.K, OPc: s.OPc})
	if err != nil {
		t.Fatal(err)
	}
	p, err := saip.Parse(der)
	if err != nil {
		t.Fatal(err)
	}
	fs, err := p.FileSystem()
	if err != nil {
		t.Fatal(err)
	}
	return fs.ADFs[0].AKA.USIM
}

// answering makes a card answer as a phone passes its answers on.
func answering(u *milenage.USIM) USIM {
	return func(rand, autn [16]byte) (Answer, error) {
		a, err := u.Authenticate(rand[:], autn[:])
		var sync *milenage.SyncError
		if errors.As(err, &sync) {
			return Answer{AUTS: sync.AUTS[:]}, nil
		}
		return Answer{RES: a.RES}, err
	}
}

func apply(t testing.TB, r *Registry, s Subscriber) {
	t.Helper()
	if err := r.Apply(t.Context(), s); err != nil {
		t.Fatal(err)
	}
}

func wantRefusal(t testing.TB, err error, kind fault.Kind, words string) {
	t.Helper()
	if !fault.Is(err, kind) || !strings.Contains(err.Error(), words) {
		t.Errorf("error = %v, want a refusal (%d) that says %q", err, kind, words)
	}
}

func TestActiveSubscriberAttaches(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		for i, s := range []Subscriber{
			subscriber(),
			{IMSI: "001010000000001", K: bytes.Repeat([]byte{3}, 16), OPc: bytes.Repeat([]byte{4}, 32), Algorithm: saip.TUAK, Attach: true},
			{IMSI: "001010000000002", K: bytes.Repeat([]byte{5}, 32), OPc: bytes.Repeat([]byte{6}, 32), Attach: true},
		} {
			r := New(d)
			apply(t, r, s)
			if s.Algorithm == 0 && len(s.OPc) == 32 {
				s.Algorithm = saip.TUAK
			}
			if s.ICCID == "" {
				s.ICCID = "8949000000000000025"
			}
			usim := card(t, s)
			for range 3 {
				v, err := r.Authenticate(t.Context(), s.IMSI, ident.PLMN{MCC: "262", MNC: "01"}, answering(usim))
				if err != nil {
					t.Fatalf("subscriber %d: %v", i, err)
				}
				if len(v.CK) != 16 || v.AUTN[6] != 0x80 {
					t.Errorf("subscriber %d: vector %x", i, v.AUTN)
				}
			}
		}
	})
}

func TestRefusals(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		r := New(d)
		_, err := r.Challenge(t.Context(), imsi)
		wantRefusal(t, err, fault.NotFound, "unknown")
		_, err = r.Subscriber(t.Context(), imsi)
		wantRefusal(t, err, fault.NotFound, "unknown")
		wantRefusal(t, r.Resync(t.Context(), imsi, [16]byte{}, make([]byte, 14)), fault.NotFound, "unknown")

		s := subscriber()
		s.Networks = []ident.PLMN{{MCC: "262", MNC: "01"}, {MCC: "310", MNC: "410"}}
		apply(t, r, s)
		if _, err = r.ChallengeIn(t.Context(), imsi, ident.PLMN{MCC: "310", MNC: "410"}); err != nil {
			t.Errorf("a listed network was refused: %v", err)
		}
		_, err = r.ChallengeIn(t.Context(), imsi, ident.PLMN{MCC: "262", MNC: "02"})
		wantRefusal(t, err, fault.Forbidden, "262/02")
		wantRefusal(t, r.Resync(t.Context(), imsi, [16]byte{}, make([]byte, 14)), fault.Forbidden, "AUTS")

		s.Attach = false
		apply(t, r, s)
		_, err = r.Challenge(t.Context(), imsi)
		wantRefusal(t, err, fault.Forbidden, "barred")

		s.Attach, s.K = true, bytes.Repeat([]byte{9}, 16)
		apply(t, r, s)
		_, err = r.Authenticate(t.Context(), imsi, ident.PLMN{}, answering(card(t, subscriber())))
		wantRefusal(t, err, fault.Forbidden, "K or OPc")
		_, err = r.Authenticate(t.Context(), imsi, ident.PLMN{}, func(_, _ [16]byte) (Answer, error) { return Answer{RES: []byte{1}}, nil })
		wantRefusal(t, err, fault.Forbidden, "wrong response")

		for _, bad := range []Subscriber{
			{IMSI: "12", K: make([]byte, 16), OPc: make([]byte, 16)},
			{IMSI: imsi, K: make([]byte, 15), OPc: make([]byte, 16)},
			{IMSI: imsi, Algorithm: 7, K: make([]byte, 16), OPc: make([]byte, 16)},
		} {
			if err := r.Apply(t.Context(), bad); !fault.Is(err, fault.Invalid) {
				t.Errorf("Apply(%v) error = %v, want a refusal", bad, err)
			}
		}
	})
}

// A card that has seen later numbers than the registry remembers (restored from
// a backup, say) is asked where it stands, once.
func TestResynchronisation(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		r := New(d)
		apply(t, r, subscriber())
		usim := card(t, subscriber())
		for i := range usim.SEQ {
			usim.SEQ[i] = 5000
		}
		usim.SEQ[7] = 5017
		asked := 0
		if _, err := r.Authenticate(t.Context(), imsi, ident.PLMN{}, func(rand, autn [16]byte) (Answer, error) {
			asked++
			return answering(usim)(rand, autn)
		}); err != nil {
			t.Fatal(err)
		}
		if asked != 2 {
			t.Errorf("the card was asked %d times, want twice", asked)
		}
		s, err := r.Subscriber(t.Context(), imsi)
		if err != nil {
			t.Fatal(err)
		}
		if s.SQN.SEQ() != 5018 || s.SQN.IND() != 8 {
			t.Errorf("the registry stands at sequence %d index %d, want 5018 and 8", s.SQN.SEQ(), s.SQN.IND())
		}

		// The registry far ahead: the card takes the challenge for an accident.
		if err := d.Write(t.Context(), func(tx *db.Tx) error {
			return setSQN(t.Context(), tx, imsi, milenage.SQNOf((5018+1<<29)<<milenage.INDBits))
		}); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Authenticate(t.Context(), imsi, ident.PLMN{}, answering(usim)); err != nil {
			t.Errorf("the registry did not come back from far ahead: %v", err)
		}
	})
}

// Applying twice changes nothing; a new state keeps the sequence numbers; new
// keys begin anew.
func TestApplyIsIdempotent(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		r := New(d)
		now := time.UnixMicro(1000)
		r.Now = func() time.Time { return now }
		s := subscriber()
		s.Networks = []ident.PLMN{{MCC: "262", MNC: "01"}}
		apply(t, r, s)
		if _, err := r.Challenge(t.Context(), imsi); err != nil {
			t.Fatal(err)
		}
		updated := func() (at int64) {
			if err := d.Read(t.Context(), func(q db.Query) error {
				return q.QueryRowContext(t.Context(), `select updated_at from carrier_subscriber where imsi = $1`, string(imsi)).Scan(&at)
			}); err != nil {
				t.Fatal(err)
			}
			return at
		}
		now = time.UnixMicro(2000)
		apply(t, r, s)
		if at := updated(); at != 1000 {
			t.Errorf("the same again was stored, at %d", at)
		}
		s.Data, s.Attach = false, false
		apply(t, r, s)
		got, err := r.Subscriber(t.Context(), imsi)
		if err != nil {
			t.Fatal(err)
		}
		if at := updated(); at != 2000 || got.Attach || got.Data || !got.SMS || got.SQN.SEQ() != 1 || !slices.Equal(got.Networks, s.Networks) {
			t.Errorf("stored %v at %d", got, at)
		}
		s.K = bytes.Repeat([]byte{8}, 16)
		apply(t, r, s)
		if got, err = r.Subscriber(t.Context(), imsi); err != nil || got.SQN.SEQ() != 0 || !bytes.Equal(got.K, s.K) {
			t.Errorf("with new keys the registry has sequence %d (%v)", got.SQN.SEQ(), err)
		}
	})
}

// However many ask at once, no sequence number is used twice.
func TestChallengesAtOnce(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		r := New(d)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if err := r.Apply(t.Context(), subscriber()); err != nil {
					t.Errorf("the same subscriber from several nodes: %v", err)
				}
			})
		}
		wg.Wait()
		f, err := milenage.New(subscriber().K, subscriber().OPc)
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		seen := map[milenage.SQN]bool{}
		for range 8 {
			wg.Go(func() {
				for range 5 {
					v, err := r.Challenge(t.Context(), imsi)
					if err != nil {
						t.Error(err)
						return
					}
					_, _, _, ak := f.F2345(v.RAND)
					var sqn milenage.SQN
					for i := range sqn {
						sqn[i] = v.AUTN[i] ^ ak[i]
					}
					mu.Lock()
					if seen[sqn] {
						t.Errorf("sequence number %x was used twice", sqn)
					}
					seen[sqn] = true
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		if len(seen) != 40 {
			t.Errorf("%d challenges, want 40", len(seen))
		}
	})
}

func TestKeysAreSealedAndDoNotPrint(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s := subscriber()
		apply(t, New(d), s)
		var sealed []byte
		if err := d.Read(t.Context(), func(q db.Query) error {
			return q.QueryRowContext(t.Context(), `select keys from carrier_subscriber`).Scan(&sealed)
		}); err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(sealed, s.K) || bytes.Contains(sealed, s.OPc) {
			t.Error("keys are stored in the clear")
		}
		if text := fmt.Sprintf("%v %+v", s, s); strings.Contains(text, "1 1 1") || strings.Contains(text, "\x01") {
			t.Errorf("a subscriber prints as %s", text)
		}
		// The keys of one subscriber do not open as another's.
		if err := d.Write(t.Context(), func(tx *db.Tx) error {
			_, err := tx.ExecContext(t.Context(), `update carrier_subscriber set imsi = $1`, "262420000000000")
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if _, err := New(d).Subscriber(t.Context(), "262420000000000"); !errors.Is(err, db.ErrSealed) {
			t.Errorf("moved keys: %v, want ErrSealed", err)
		}
	})
}
