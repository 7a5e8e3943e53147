package carrier

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"

	"godwit/db"
	"godwit/fault"
	"godwit/ident"
	"godwit/milenage"
)

// separation is the AMF of our challenges: its first bit says that the keys are
// for a 4G or 5G network, which refuses others. TS 33.102, annex H.
var separation = [2]byte{0x80, 0x00}

// Challenge makes a new authentication vector for a subscriber that may attach
// anywhere. The sequence number has advanced durably when it returns, so that no
// number is ever used twice. A subscriber that is unknown or barred is refused.
func (r *Registry) Challenge(ctx context.Context, imsi ident.IMSI) (milenage.Vector, error) {
	return r.ChallengeIn(ctx, imsi, ident.PLMN{})
}

// ChallengeIn is [Registry.Challenge] asked for by a visited network, which the
// subscriber must be allowed to use. The zero PLMN is no network in particular.
func (r *Registry) ChallengeIn(ctx context.Context, imsi ident.IMSI, visited ident.PLMN) (v milenage.Vector, err error) {
	var random [16]byte
	rand.Read(random[:])
	err = r.DB.Write(ctx, func(tx *db.Tx) error {
		s, err := r.find(ctx, tx, imsi, tx.ForUpdate())
		if err != nil {
			return unknown(imsi, err)
		}
		if err := s.mayAttach(visited); err != nil {
			return err
		}
		f, err := s.functions()
		if err != nil {
			return fmt.Errorf("keys of IMSI %s: %w", imsi, err)
		}
		if s.SQN.SEQ() == milenage.MaxSEQ {
			return fault.New(fault.Conflict, "IMSI %s has used up its sequence numbers: the profile must be replaced", imsi)
		}
		sqn := next(s.SQN)
		v = milenage.NewVector(f, random, sqn, separation)
		return setSQN(ctx, tx, imsi, sqn)
	})
	return v, err
}

// next advances the sequence and takes the next index in turn, so that
// challenges which arrive out of order are still accepted. TS 33.102, C.1.2.
func next(s milenage.SQN) milenage.SQN {
	const indices = 1 << milenage.INDBits
	return milenage.SQNOf((s.SEQ()+1)*indices + uint64(s.IND()+1)%indices)
}

func setSQN(ctx context.Context, tx *db.Tx, imsi ident.IMSI, sqn milenage.SQN) error {
	_, err := tx.ExecContext(ctx, `update carrier_subscriber set sqn = $2 where imsi = $1`, string(imsi), int64(sqn.Number()))
	if err != nil {
		return fmt.Errorf("store sequence number of IMSI %s: %w", imsi, err)
	}
	return nil
}

// mayAttach refuses a subscriber that is barred, or barred where it is.
func (s *Subscriber) mayAttach(visited ident.PLMN) error {
	if !s.Attach {
		return fault.New(fault.Forbidden, "IMSI %s is barred: its Sim is not active", s.IMSI)
	}
	if visited != (ident.PLMN{}) && len(s.Networks) > 0 && !slices.Contains(s.Networks, visited) {
		return fault.New(fault.Forbidden, "IMSI %s may not use network %s: its network access profile does not list it", s.IMSI, visited)
	}
	return nil
}

// Resync takes the USIM's sequence number from the AUTS that answered a
// challenge with random number random. Challenges made afterwards are fresh to
// the USIM. TS 33.102, 6.3.5.
func (r *Registry) Resync(ctx context.Context, imsi ident.IMSI, random [16]byte, auts []byte) error {
	return r.DB.Write(ctx, func(tx *db.Tx) error {
		s, err := r.find(ctx, tx, imsi, tx.ForUpdate())
		if err != nil {
			return unknown(imsi, err)
		}
		f, err := s.functions()
		if err != nil {
			return fmt.Errorf("keys of IMSI %s: %w", imsi, err)
		}
		card, err := milenage.Resync(f, random, auts)
		if err != nil {
			return fault.New(fault.Forbidden, "IMSI %s asked for resynchronisation with a wrong AUTS: %v", imsi, err)
		}
		// A number ahead of the card's is fresh to it, unless it is so far ahead that the
		// card takes it for an accident (Delta, TS 33.102, C.2.1). Only then go back.
		const tolerated = 1 << 28
		if ours := s.SQN.SEQ(); ours >= card.SEQ() && ours-card.SEQ() < tolerated {
			return nil
		}
		return setSQN(ctx, tx, imsi, card)
	})
}

// An Answer is a USIM's reaction to a challenge: RES, or AUTS to resynchronise.
type Answer struct{ RES, AUTS []byte }

// A USIM answers challenges: a card in a phone, or a software one.
type USIM func(rand, autn [16]byte) (Answer, error)

// Authenticate lets a USIM prove itself to this network; see [Authenticate].
func (r *Registry) Authenticate(ctx context.Context, imsi ident.IMSI, visited ident.PLMN, usim USIM) (milenage.Vector, error) {
	return Authenticate(ctx, r, imsi, visited, usim)
}
