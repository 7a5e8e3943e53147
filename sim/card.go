package sim

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"time"

	"godwit/db"
	"godwit/event"
	"godwit/fault"
	"godwit/ident"
)

// A Card is a SIM that was made elsewhere: of plastic, or a profile that a
// factory has put on an eUICC, whose EID it then has. Its customer shows the
// registration code that came with it.
type Card struct {
	ICCID  ident.ICCID
	IMSI   ident.IMSI
	MSISDN string
	EID    ident.EID
	K      db.Secret
	OPc    db.Secret // of 32 octets: TOPc, and the algorithm is TUAK
	Code   db.Secret // 10 letters and digits
	SIM    string    // SID, once it is registered
}

// cardSecrets are stored under the master key.
type cardSecrets struct {
	K    []byte `json:"k"`
	OPc  []byte `json:"opc"`
	Code []byte `json:"code"`
}

const selectCard = `select iccid, imsi, msisdn, eid, secrets, coalesce(sim_sid, '') from card`

func (s *Store) scanCard(r db.Row) (c Card, err error) {
	var sealed []byte
	if err := r.Scan(&c.ICCID, &c.IMSI, &c.MSISDN, &c.EID, &sealed, &c.SIM); err != nil {
		return c, err
	}
	plain, err := s.DB.Unseal("card:"+string(c.ICCID), sealed)
	if err != nil {
		return c, fmt.Errorf("unseal card %s: %w", c.ICCID, err)
	}
	var k cardSecrets
	if err := json.Unmarshal(plain, &k); err != nil {
		return c, fmt.Errorf("read card %s: %w", c.ICCID, err)
	}
	c.K, c.OPc, c.Code = k.K, k.OPc, k.Code
	return c, nil
}

// Card returns a card with its keys. The refusal is of kind [fault.NotFound]
// where there is none.
func (s *Store) Card(ctx context.Context, iccid ident.ICCID) (c Card, err error) {
	err = s.DB.Read(ctx, func(q db.Query) error {
		c, err = s.scanCard(q.QueryRowContext(ctx, selectCard+` where iccid = $1`, string(iccid)))
		if db.None(err) {
			return fault.New(fault.NotFound, "no card has ICCID %s", iccid)
		}
		return err
	})
	return c, err
}

// CardOf returns the ICCID of the card that has an IMSI or, where that finds
// none, an MSISDN.
func (s *Store) CardOf(ctx context.Context, q db.Query, imsi ident.IMSI, msisdn string) (iccid ident.ICCID, err error) {
	err = q.QueryRowContext(ctx, `select iccid from card where imsi = $1`, string(imsi)).Scan(&iccid)
	if db.None(err) && msisdn != "" {
		err = q.QueryRowContext(ctx, `select iccid from card where msisdn = $1 and msisdn <> '' order by iccid limit 1`, msisdn).Scan(&iccid)
	}
	if db.None(err) {
		return "", fault.New(fault.NotFound, "no card has IMSI %q or MSISDN %q", imsi, msisdn)
	}
	return iccid, err
}

// Codes of the vendors' catalogue for registration.
const (
	CodeRegistrationMissing = 83001
	CodeNotRegistrable      = 83002
	CodeRegistered          = 83003
)

// RegisterCard makes a customer's Sim of a card. Who gives a wrong code learns
// as little as who names a card that does not exist, or is another's.
func (s *Store) RegisterCard(ctx context.Context, account, iccid, code string) (one Sim, err error) {
	err = s.DB.Write(ctx, func(tx *db.Tx) error {
		c, err := s.scanCard(tx.QueryRowContext(ctx, selectCard+` where iccid = $1`+tx.ForUpdate(), iccid))
		if code == "" || db.None(err) || err == nil && subtle.ConstantTimeCompare(c.Code, []byte(code)) != 1 {
			return notRegistrable(iccid)
		}
		if err != nil {
			return err
		}
		if c.SIM != "" {
			if one, err = oneSim(ctx, tx, "sid", c.SIM, ""); err != nil {
				return err
			}
			if one.Account != account {
				return notRegistrable(iccid)
			}
			return &fault.Error{
				Kind: fault.Conflict, Code: CodeRegistered, Field: "Iccid",
				Message: fmt.Sprintf("SIM %s is already registered to this account: it is %s", c.ICCID, one.SID),
			}
		}
		one, err = s.register(ctx, tx, account, c)
		return err
	})
	return one, err
}

func notRegistrable(iccid string) error {
	return &fault.Error{
		Kind: fault.Invalid, Code: CodeNotRegistrable, Field: "Iccid",
		Message: fmt.Sprintf("no SIM that can be registered has ICCID %.40q and this RegistrationCode; both stand on the card or its letter", iccid),
	}
}

// register makes the Sim of a card, its factory settings and, for a profile
// that is on an eUICC already, the ESimProfile that says so.
func (s *Store) register(ctx context.Context, tx *db.Tx, account string, c Card) (Sim, error) {
	now := s.now()
	p := Profile{
		SID: freshSID(ProfilePrefix), Account: account, Status: ProfileInstalled, EID: string(c.EID), Type: "factory",
		ICCID: c.ICCID, CreatedAt: now, UpdatedAt: now,
	}
	if err := s.createSim(ctx, tx, &p, now); err != nil {
		return Sim{}, err
	}
	if _, err := tx.ExecContext(ctx, `update card set sim_sid = $1 where iccid = $2`, p.SIM, string(c.ICCID)); err != nil {
		return Sim{}, fmt.Errorf("store registration of %s: %w", c.ICCID, err)
	}
	if c.EID != "" {
		if _, err := tx.ExecContext(ctx, `insert into esim_profile (sid, account_sid, status, eid, generate_matching_id, profile_type, iccid,
			sim_sid, callback_method, lease, created_at, updated_at) values ($1, $2, $3, $4, $5, $6, $7, $8, 'POST', 0, $9, $9)`,
			p.SID, account, string(p.Status), p.EID, false, p.Type, string(p.ICCID), p.SIM, now.UnixMicro()); err != nil {
			return Sim{}, fmt.Errorf("store the profile of %s: %w", c.ICCID, err)
		}
		if err := s.record(ctx, tx, event.Event{
			Kind: "esim_profile.installed", Subject: p.SID, Account: account,
			Data: map[string]any{"iccid": c.ICCID, "eid": c.EID, "sim": p.SIM, "by": "factory"},
		}); err != nil {
			return Sim{}, err
		}
	}
	return oneSim(ctx, tx, "sid", p.SIM, "")
}

// CountCards counts cards by whether they are registered.
func (s *Store) CountCards(ctx context.Context) (free, registered int64, err error) {
	err = s.DB.Read(ctx, func(q db.Query) error {
		return q.QueryRowContext(ctx, `select count(*) - count(sim_sid), count(sim_sid) from card`).Scan(&free, &registered)
	})
	return free, registered, err
}

// ImportCards takes a list of cards, all of them or none. With an account they
// become its Sims at once; without, they wait for whoever registers them.
func (s *Store) ImportCards(ctx context.Context, account, source string, cards []Card) error {
	return s.DB.Write(ctx, func(tx *db.Tx) error {
		if account != "" {
			if _, err := s.Accounts.Get(ctx, tx, account); err != nil {
				return err
			}
		}
		now := s.now()
		for i := range cards {
			if err := s.importCard(ctx, tx, account, source, cards[i], now); err != nil {
				return err
			}
		}
		return s.record(ctx, tx, event.Event{
			Kind: "card.imported", Subject: source, Account: account, Data: map[string]any{"cards": len(cards)},
		})
	})
}

func (s *Store) importCard(ctx context.Context, tx *db.Tx, account, source string, c Card, now time.Time) error {
	for _, query := range []string{
		`select iccid from card where iccid = $1`,
		`select iccid from profile where iccid = $1`,
		`select iccid from sim where iccid = $1`,
	} {
		var known string
		err := tx.QueryRowContext(ctx, query, string(c.ICCID)).Scan(&known)
		if err == nil {
			return fault.New(fault.Conflict, "ICCID %s is already known to this server: a card, a profile in stock or a Sim has it", c.ICCID)
		}
		if !db.None(err) {
			return fmt.Errorf("look for %s: %w", c.ICCID, err)
		}
	}
	plain, err := json.Marshal(cardSecrets{K: c.K, OPc: c.OPc, Code: c.Code})
	if err != nil {
		return fmt.Errorf("write card %s: %w", c.ICCID, err)
	}
	added, err := tx.ExecContext(ctx, `insert into card (iccid, imsi, msisdn, eid, secrets, source, created_at)
		values ($1, $2, $3, $4, $5, $6, $7) on conflict do nothing`,
		string(c.ICCID), string(c.IMSI), c.MSISDN, string(c.EID), s.DB.Seal("card:"+string(c.ICCID), plain), source, now.UnixMicro())
	if err != nil {
		return fmt.Errorf("store card %s: %w", c.ICCID, err)
	}
	if n, err := added.RowsAffected(); err != nil || n == 0 {
		if err != nil {
			return fmt.Errorf("store card %s: %w", c.ICCID, err)
		}
		return fault.New(fault.Conflict, "card %s: another card has IMSI %s", c.ICCID, c.IMSI)
	}
	if account != "" {
		_, err = s.register(ctx, tx, account, c)
	}
	return err
}
