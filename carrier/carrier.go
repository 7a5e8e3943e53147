// Package carrier is the core network that serves Sims or refuses them: an
// OsmoHLR, an Open5GS, or, where none is configured, its own registry that
// knows each subscriber (HLR) and authenticates it (AuC). The registry says who
// may attach, and makes and judges AKA challenges with the keys of the profile,
// so that an activation is true or false by something that a card computed.
//
// It carries no traffic. [Link] is a core network as package sim wants one, and
// finds where it has drifted from what it was told.
package carrier

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"godwit/db"
	"godwit/fault"
	"godwit/ident"
	"godwit/milenage"
	"godwit/saip"
)

// A Registry is the home network of all its subscribers.
type Registry struct {
	DB  *db.DB
	Now func() time.Time
}

// New returns a registry that stores in d.
func New(d *db.DB) *Registry { return &Registry{DB: d, Now: time.Now} }

// A Subscriber is what the network knows of one IMSI.
type Subscriber struct {
	IMSI  ident.IMSI
	ICCID ident.ICCID

	Algorithm saip.Algorithm // 0: Milenage, or TUAK if OPc has 32 octets
	K, OPc    db.Secret      // OPc, or TOPc of TUAK

	MSISDN string // digits in international form, "" for none; the registry has no use for it

	Attach    bool // whether the network serves it at all
	Data, SMS bool
	Networks  []ident.PLMN // where it may attach, empty for everywhere

	// SQN is the sequence number of the last challenge. Apply does not set it.
	SQN milenage.SQN
}

// check refuses keys that do not fit the algorithm.
func (s *Subscriber) check() error {
	if _, err := ident.ParseIMSI(string(s.IMSI)); err != nil {
		return fault.Field("IMSI", "%v", err)
	}
	if s.Algorithm == 0 {
		s.Algorithm = saip.Milenage
		if len(s.OPc) == 32 {
			s.Algorithm = saip.TUAK
		}
	}
	if _, err := s.functions(); err != nil {
		return fault.Field("K", "%v", err)
	}
	return nil
}

func (s *Subscriber) functions() (milenage.Functions, error) {
	switch s.Algorithm {
	case saip.Milenage:
		return milenage.New(s.K, s.OPc)
	case saip.TUAK:
		return milenage.NewTUAK(s.K, s.OPc, milenage.DefaultLengths, 1)
	case saip.XOR:
		return milenage.NewXOR(s.K)
	}
	return nil, fmt.Errorf("algorithm %d is none of 1 Milenage, 2 TUAK, 3 USIM test algorithm", int(s.Algorithm))
}

// same reports whether applying s to a network that has t would change nothing.
func (s *Subscriber) same(t *Subscriber) bool {
	return s.ICCID == t.ICCID && s.sameKeys(t) && s.Attach == t.Attach && s.Data == t.Data && s.SMS == t.SMS &&
		slices.Equal(s.Networks, t.Networks)
}

func (s *Subscriber) sameKeys(t *Subscriber) bool {
	return s.Algorithm == t.Algorithm && bytes.Equal(s.K, t.K) && bytes.Equal(s.OPc, t.OPc)
}

// Apply makes the registry's subscriber equal to s. Applying the same subscriber
// again changes nothing, so that a job may repeat it. New keys mean a new card,
// whose sequence numbers begin anew.
func (r *Registry) Apply(ctx context.Context, s Subscriber) error {
	if err := s.check(); err != nil {
		return err
	}
	return r.DB.Write(ctx, func(tx *db.Tx) error {
		known, err := r.find(ctx, tx, s.IMSI, tx.ForUpdate())
		switch {
		case err == nil && s.same(known):
			return nil
		case err == nil && s.sameKeys(known):
			return r.update(ctx, tx, s, known.SQN)
		case err == nil:
			return r.update(ctx, tx, s, milenage.SQN{})
		case errors.Is(err, sql.ErrNoRows):
			return r.insert(ctx, tx, s)
		}
		return err
	})
}

// Compare says in what the registry's subscriber differs from s.
func (r *Registry) Compare(ctx context.Context, s Subscriber) ([]Difference, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	is, err := r.Subscriber(ctx, s.IMSI)
	switch {
	case fault.Is(err, fault.NotFound) && s.Attach:
		return unknownThere, nil
	case fault.Is(err, fault.NotFound):
		return nil, nil
	case err != nil:
		return nil, err
	case !s.Attach && is.Attach:
		return servedThere, nil
	case !s.Attach:
		return nil, nil
	}
	var list differences
	list.flag("attach", true, is.Attach)
	list.keys(s.sameKeys(is))
	list.add("ICCID", string(s.ICCID), string(is.ICCID))
	list.flag("data", s.Data, is.Data)
	list.flag("sms", s.SMS, is.SMS)
	list.add("networks", fmt.Sprint(s.Networks), fmt.Sprint(is.Networks))
	return list, nil
}

// Close does nothing: the database is its opener's.
func (r *Registry) Close() error { return nil }

// Subscriber returns what the registry knows of an IMSI.
func (r *Registry) Subscriber(ctx context.Context, imsi ident.IMSI) (s *Subscriber, err error) {
	err = r.DB.Read(ctx, func(q db.Query) error {
		s, err = r.find(ctx, q, imsi, "")
		return unknown(imsi, err)
	})
	return s, err
}

// unknown turns a missing row into a refusal.
func unknown(imsi ident.IMSI, err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return fault.New(fault.NotFound, "IMSI %s is unknown to this network: no Sim with it was ever activated here", imsi)
	}
	return err
}

// sealedKeys names the place of a subscriber's keys.
func sealedKeys(imsi ident.IMSI) string { return "carrier_subscriber/" + string(imsi) + "/keys" }

// seal joins K and OPc: the length of K, K, OPc.
func (r *Registry) seal(s Subscriber) []byte {
	plain := append([]byte{byte(len(s.K))}, s.K...)
	return r.DB.Seal(sealedKeys(s.IMSI), append(plain, s.OPc...))
}

func (r *Registry) unseal(s *Subscriber, sealed []byte) error {
	plain, err := r.DB.Unseal(sealedKeys(s.IMSI), sealed)
	if err != nil {
		return fmt.Errorf("read keys of IMSI %s: %w", s.IMSI, err)
	}
	if len(plain) == 0 || int(plain[0]) > len(plain)-1 {
		return fmt.Errorf("read keys of IMSI %s: %w", s.IMSI, db.ErrSealed)
	}
	s.K, s.OPc = plain[1:1+plain[0]], plain[1+plain[0]:]
	return nil
}

func networksJSON(list []ident.PLMN) (string, error) {
	names := make([]string, len(list))
	for i, n := range list {
		names[i] = n.String()
	}
	b, err := json.Marshal(names)
	return string(b), err
}

func (r *Registry) find(ctx context.Context, q db.Query, imsi ident.IMSI, lock string) (*Subscriber, error) {
	s := &Subscriber{IMSI: imsi}
	var sealed []byte
	var networks string
	var sqn int64
	err := q.QueryRowContext(ctx, `select iccid, algorithm, keys, attach, data, sms, networks, sqn
		from carrier_subscriber where imsi = $1`+lock, string(imsi)).
		Scan(&s.ICCID, &s.Algorithm, &sealed, &s.Attach, &s.Data, &s.SMS, &networks, &sqn)
	if err != nil {
		return nil, err
	}
	s.SQN = milenage.SQNOf(uint64(sqn))
	var names []string
	if err := json.Unmarshal([]byte(networks), &names); err != nil {
		return nil, fmt.Errorf("read networks of IMSI %s: %w", imsi, err)
	}
	for _, name := range names {
		n, err := ident.ParsePLMN(name)
		if err != nil {
			return nil, fmt.Errorf("read networks of IMSI %s: %w", imsi, err)
		}
		s.Networks = append(s.Networks, n)
	}
	return s, r.unseal(s, sealed)
}

func (r *Registry) insert(ctx context.Context, tx *db.Tx, s Subscriber) error {
	networks, err := networksJSON(s.Networks)
	if err != nil {
		return err
	}
	now := db.Micros(r.Now())
	// Where another node inserts the same subscriber meanwhile, the engine has the
	// transaction repeated, and it finds the row.
	_, err = tx.ExecContext(ctx, `insert into carrier_subscriber
		(imsi, iccid, algorithm, keys, attach, data, sms, networks, sqn, created_at, updated_at)
		values ($1, $2, $3, $4, $5, $6, $7, $8, 0, $9, $9)
		on conflict (imsi) do nothing`,
		string(s.IMSI), string(s.ICCID), int(s.Algorithm), r.seal(s), s.Attach, s.Data, s.SMS, networks, now)
	if err != nil {
		return fmt.Errorf("store subscriber %s: %w", s.IMSI, err)
	}
	return nil
}

func (r *Registry) update(ctx context.Context, tx *db.Tx, s Subscriber, sqn milenage.SQN) error {
	networks, err := networksJSON(s.Networks)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `update carrier_subscriber
		set iccid = $2, algorithm = $3, keys = $4, attach = $5, data = $6, sms = $7, networks = $8, sqn = $9, updated_at = $10
		where imsi = $1`,
		string(s.IMSI), string(s.ICCID), int(s.Algorithm), r.seal(s), s.Attach, s.Data, s.SMS, networks, int64(sqn.Number()), db.Micros(r.Now()))
	if err != nil {
		return fmt.Errorf("store subscriber %s: %w", s.IMSI, err)
	}
	return nil
}
