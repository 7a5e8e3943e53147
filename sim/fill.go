package sim

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	mathrand "math/rand/v2"

	"godwit/db"
	"godwit/event"
	"godwit/ident"
)

// A Filling makes Sims by the million, so that what depends on their number can
// be measured. They come the way of a factory's list, see [Store.ImportCards]:
// each is a card with all rows that one has, registered for an account.
type Filling struct {
	Account string
	First   int // number of the first card, for a database that holds some of these already
	Sims    int
	// ICCID, IMSI and EID begin the numbers of the cards, whose own number fills
	// up the rest. With an EID the cards are profiles that are on an eUICC, and have an
	// ESimProfile each; without, they are plastic.
	ICCID, IMSI, EID string
}

// fillBatch is how many Sims one transaction makes. SQLite keeps what a
// transaction has changed in a list, and walks along it after each statement of
// many rows: twice as many cost four times as much.
const fillBatch = 1024

// fillSource stands in the cards.
const fillSource = "fill"

// Fill makes them, some in a transaction, and calls done with how many there
// are. It writes what [Store.ImportCards] would write for one account, with less
// ado: the numbers are new, so that nothing need be looked up, and statements
// have many rows.
//
// SIDs come in ascending order. As a set they are spread as random ones are; made
// in this order they come to each page of an index once, where random ones would
// have the log take all pages of the indexes again every few transactions.
func (s *Store) Fill(ctx context.Context, f Filling, done func(sims int)) error {
	for from := 0; from < f.Sims; from += fillBatch {
		cards := make([]Card, min(fillBatch, f.Sims-from))
		for i := range cards {
			var err error
			if cards[i], err = f.card(f.First + from + i); err != nil {
				return err
			}
		}
		if err := s.DB.Write(ctx, func(tx *db.Tx) error {
			return s.fillSome(ctx, tx, f.Account, cards, func(prefix string, i int) string { return sidAt(prefix, from+i, f.Sims) })
		}); err != nil {
			return err
		}
		done(from + len(cards))
	}
	return nil
}

// fillSome stores cards as registered Sims. newSID makes a SID for what belongs
// to one of them.
func (s *Store) fillSome(ctx context.Context, tx *db.Tx, account string, list []Card, newSID func(prefix string, i int) string) error {
	at := s.now()
	now := at.UnixMicro()
	var cards, sims, settings, profiles [][]any
	var events []event.Event
	for i, c := range list {
		plain, err := json.Marshal(cardSecrets{K: c.K, OPc: c.OPc, Code: c.Code})
		if err != nil {
			return fmt.Errorf("write card %s: %w", c.ICCID, err)
		}
		sid, profile := newSID(SimPrefix, i), newSID(ProfilePrefix, i)
		cards = append(cards, []any{
			string(c.ICCID), string(c.IMSI), c.MSISDN, string(c.EID), s.DB.Seal("card:"+string(c.ICCID), plain), sid, fillSource, now,
		})
		sims = append(sims, []any{sid, account, string(c.ICCID), string(New), now, now})
		settings = append(settings, []any{
			newSID(SettingsPrefix, i), sid, string(c.ICCID), string(SettingsSuccessful), FactorySettings, "1.0.0", "[]", "", int64(0), now, now, now,
		})
		events = append(events, event.Event{
			Kind: "sim.new", Subject: sid, Account: account, At: at, Data: map[string]any{"iccid": c.ICCID, "esim_profile": profile},
		})
		if c.EID == "" {
			continue
		}
		profiles = append(profiles, []any{
			profile, account, string(ProfileInstalled), string(c.EID), false, "factory", string(c.ICCID), sid, "POST", int64(0), now, now,
		})
		events = append(events, event.Event{
			Kind: "esim_profile.installed", Subject: profile, Account: account, At: at,
			Data: map[string]any{"iccid": c.ICCID, "eid": c.EID, "sim": sid, "by": "factory"},
		})
	}
	for _, part := range []struct {
		what, insert string
		rows         [][]any
	}{
		{"cards", `insert into card (iccid, imsi, msisdn, eid, secrets, sim_sid, source, created_at) values {}`, cards},
		{"Sims", `insert into sim (sid, account_sid, iccid, status, created_at, updated_at) values {}`, sims},
		{"factory settings", `insert into settings_update (sid, sim_sid, iccid, status, package, version, settings, reason, lease,
			completed_at, created_at, updated_at) values {}`, settings},
		{"profiles", `insert into esim_profile (sid, account_sid, status, eid, generate_matching_id, profile_type, iccid,
			sim_sid, callback_method, lease, created_at, updated_at) values {}`, profiles},
	} {
		if _, err := tx.ExecMany(ctx, part.insert, nil, part.rows); err != nil {
			return fmt.Errorf("store %d %s: %w", len(part.rows), part.what, err)
		}
	}
	return s.Events.AppendMany(ctx, tx, events)
}

// card makes up the card with a number.
func (f Filling) card(n int) (c Card, err error) {
	number := func(beginning string, digits int) string {
		return fmt.Sprintf("%s%0*d", beginning, digits-len(beginning), n)
	}
	if c.ICCID, err = ident.NewICCID(number(f.ICCID, 18)); err != nil {
		return c, err
	}
	if c.IMSI, err = ident.ParseIMSI(number(f.IMSI, 15)); err != nil {
		return c, err
	}
	if f.EID != "" {
		if c.EID, err = ident.NewEID(number(f.EID, 30)); err != nil {
			return c, err
		}
	}
	secrets := make([]byte, 32)
	rand.Read(secrets)
	c.K, c.OPc, c.Code = secrets[:16], secrets[16:], freshCode()
	return c, nil
}

// sidAt makes the SID number i of n in ascending order: the range of all SIDs
// is cut into n parts, and each part has one at random.
func sidAt(prefix string, i, n int) string {
	part := ^uint64(0) / uint64(n)
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], uint64(i)*part+mathrand.Uint64N(part))
	rand.Read(b[8:])
	return prefix + hex.EncodeToString(b[:])
}
