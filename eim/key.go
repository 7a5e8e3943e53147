package eim

import (
	"context"
	"crypto"
	"crypto/x509"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"godwit/db"
	"godwit/pki"
)

// name finds out what eUICCs know this eIM by: what it was called when it made its
// first key, or now, if this is the first time, the host of its address.
func (s *Server) name(ctx context.Context) (id string, err error) {
	err = s.db.Read(ctx, func(q db.Query) error {
		return q.QueryRowContext(ctx, `select eim_id from eim_key order by id limit 1`).Scan(&id)
	})
	if errors.Is(err, sql.ErrNoRows) {
		host, _, _ := strings.Cut(s.cfg.FQDN, ":")
		return host, nil
	}
	if err != nil {
		return "", fmt.Errorf("read identifier of the eIM: %w", err)
	}
	return id, nil
}

// newestKey returns the id of the newest signing key, and makes the first.
func (s *Server) newestKey(ctx context.Context) (string, error) {
	var id string
	err := s.db.Read(ctx, func(q db.Query) (err error) {
		id, err = newestKey(ctx, q)
		return err
	})
	if err == nil || !errors.Is(err, sql.ErrNoRows) {
		return id, err
	}
	// The first node's insert counts; the others read it.
	err = s.db.Write(ctx, func(tx *db.Tx) error {
		if err := s.addKey(ctx, tx, "0"); err != nil {
			return err
		}
		id, err = newestKey(ctx, tx)
		return err
	})
	return id, err
}

func newestKey(ctx context.Context, q db.Query) (id string, err error) {
	if err = q.QueryRowContext(ctx, `select id from eim_key order by id desc limit 1`).Scan(&id); err != nil {
		return "", fmt.Errorf("read newest signing key: %w", err)
	}
	return id, nil
}

func (s *Server) addKey(ctx context.Context, tx *db.Tx, id string) error {
	key, err := pki.GenerateKey(pki.P256)
	if err != nil {
		return fmt.Errorf("make signing key: %w", err)
	}
	der, err := pki.MarshalKey(key)
	if err != nil {
		return fmt.Errorf("make signing key: %w", err)
	}
	if _, err := tx.ExecContext(ctx, `insert into eim_key (id, eim_id, sealed, created_at) values ($1, $2, $3, $4) on conflict (id) do nothing`,
		id, s.cfg.ID, s.db.Seal("eim_key/"+id, der), s.now()); err != nil {
		return fmt.Errorf("store signing key: %w", err)
	}
	return nil
}

// Rotate makes a new signing key. eUICCs that are registered from now on are
// told this one. Those of before go on with theirs until an [UpdateEIM] of this
// eIM's own id, which carries the newest key where it names none, has
// succeeded.
func (s *Server) Rotate(ctx context.Context) error {
	return s.db.Write(ctx, func(tx *db.Tx) error { return s.addKey(ctx, tx, s.newID()) })
}

// signer returns a signing key by its id.
func (s *Server) signer(ctx context.Context, q db.Query, id string) (crypto.Signer, error) {
	if k, ok := s.keys.Load(id); ok {
		return k.(crypto.Signer), nil
	}
	var sealed []byte
	if err := q.QueryRowContext(ctx, `select sealed from eim_key where id = $1`, id).Scan(&sealed); err != nil {
		return nil, fmt.Errorf("read signing key %s: %w", id, err)
	}
	der, err := s.db.Unseal("eim_key/"+id, sealed)
	if err != nil {
		return nil, fmt.Errorf("read signing key %s: %w", id, err)
	}
	key, err := pki.ParseKey(der)
	if err != nil {
		return nil, fmt.Errorf("read signing key %s: %w", id, err)
	}
	s.keys.Store(id, key)
	return key, nil
}

// publicKey returns the SubjectPublicKeyInfo of a signing key.
func (s *Server) publicKey(ctx context.Context, q db.Query, id string) ([]byte, error) {
	key, err := s.signer(ctx, q, id)
	if err != nil {
		return nil, err
	}
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, fmt.Errorf("write signing key %s: %w", id, err)
	}
	return spki, nil
}
