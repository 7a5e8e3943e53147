package smdp

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"godwit/db"
	"godwit/fault"
)

// An Operator may order profiles over ES2+.
type Operator struct {
	ID        string   `json:"id"`
	Name      string   `json:"name"`
	Requester string   `json:"requester"` // functionRequesterIdentifier of its calls
	KeyPin    string   `json:"key_pin,omitempty"`
	CertName  string   `json:"certificate_name,omitempty"`
	Types     []string `json:"profile_types"`          // ids of profile types it may order; "*" is every one
	Progress  string   `json:"progress_url,omitempty"` // base of its ES2+ address for progress calls
}

// LocalRequester is the functionRequesterIdentifier of the program's own calls.
const LocalRequester = "godwit"

// local is the program itself.
var local = Operator{ID: LocalOperator, Name: "Godwit", Requester: LocalRequester, Types: []string{"*"}}

// may reports whether the operator may order a profile type.
func (o *Operator) may(profileType string) bool {
	return slices.Contains(o.Types, "*") || slices.Contains(o.Types, profileType)
}

// KeyPin is how a client certificate is known again after a renewal: the
// SHA-256 of its public key, in hexadecimal.
func KeyPin(c *x509.Certificate) string {
	sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return hex.EncodeToString(sum[:])
}

// AddOperator stores an operator. Its certificate is pinned by its key
// (KeyPin), or recognised by a name when an authority of the listener issued it
// (CertName). It returns the operator with its id.
func (s *Server) AddOperator(ctx context.Context, o Operator) (Operator, error) {
	switch {
	case strings.TrimSpace(o.Name) == "":
		return o, fault.Field("name", "an operator needs a name")
	case strings.TrimSpace(o.Requester) == "":
		return o, fault.Field("requester", "an operator needs the functionRequesterIdentifier that its calls carry")
	case o.Requester == local.Requester:
		return o, fault.Field("requester", "%q is the program's own identifier", o.Requester)
	case o.KeyPin == "" && o.CertName == "":
		return o, fault.Field("certificate", "an operator is known by its client certificate: give the certificate, or a name in it")
	case len(o.Types) == 0:
		return o, fault.Field("types", "name the profile types that the operator may order, or * for all")
	}
	if o.Progress != "" {
		if u, err := url.Parse(o.Progress); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
			return o, fault.Field("progress", "%q is not an http or https URL", o.Progress)
		}
	}
	for _, t := range o.Types {
		if t == "*" {
			continue
		}
		if _, err := s.loadType(ctx, t); err != nil {
			if errors.Is(err, errNoType) {
				return o, fault.Field("types", "there is no profile type %q", t)
			}
			return o, err
		}
	}
	types, err := json.Marshal(o.Types)
	if err != nil {
		return o, err
	}
	o.ID = "OP" + strings.ToLower(rand.Text()[:16])
	err = s.db.Write(ctx, func(tx *db.Tx) error {
		ok, err := changed(tx.ExecContext(ctx, `insert into operator
			(id, name, requester, key_pin, cert_name, profile_types, progress_url, created_at)
			values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict do nothing`,
			o.ID, o.Name, o.Requester, nullable(o.KeyPin), nullable(o.CertName), string(types), o.Progress, s.now()))
		if err == nil && !ok {
			return fault.New(fault.Conflict, "an operator with this requester identifier or certificate exists already")
		}
		return err
	})
	if err != nil {
		return o, fmt.Errorf("store operator: %w", err)
	}
	return o, nil
}

func nullable(s string) sql.NullString { return sql.NullString{String: s, Valid: s != ""} }

// Operators returns all operators, by name.
func (s *Server) Operators(ctx context.Context) (list []Operator, err error) {
	err = s.db.Read(ctx, func(q db.Query) error {
		list, err = operatorsWhere(ctx, q, `1 = 1 order by name, id`)
		return err
	})
	return list, err
}

func operatorsWhere(ctx context.Context, q db.Query, where string, args ...any) ([]Operator, error) {
	rows, err := q.QueryContext(ctx, `select id, name, requester, coalesce(key_pin, ''), coalesce(cert_name, ''), profile_types,
		progress_url from operator where `+where, args...)
	if err != nil {
		return nil, fmt.Errorf("read operators: %w", err)
	}
	defer rows.Close()
	var list []Operator
	for rows.Next() {
		var o Operator
		var types string
		if err := rows.Scan(&o.ID, &o.Name, &o.Requester, &o.KeyPin, &o.CertName, &types, &o.Progress); err != nil {
			return nil, fmt.Errorf("read operators: %w", err)
		}
		if err := json.Unmarshal([]byte(types), &o.Types); err != nil {
			return nil, fmt.Errorf("read profile types of operator %s: %w", o.ID, err)
		}
		list = append(list, o)
	}
	return list, rows.Err()
}

// hears reports whether anybody is to be told about an operator's profiles.
// Operators do not change, so what was read once is kept: it is asked at every
// step of every download.
func (s *Server) hears(ctx context.Context, id string) (bool, error) {
	switch id {
	case "":
		return false, nil
	case LocalOperator:
		return s.cfg.Progress != nil, nil
	}
	if known, ok := s.listeners.Load(id); ok {
		return known.(bool), nil
	}
	o, err := s.operatorByID(ctx, id)
	if err != nil {
		return false, err
	}
	s.listeners.Store(id, o.Progress != "")
	return o.Progress != "", nil
}

// operatorByID returns an operator, or the program itself.
func (s *Server) operatorByID(ctx context.Context, id string) (*Operator, error) {
	if id == LocalOperator {
		o := local
		return &o, nil
	}
	var list []Operator
	if err := s.db.Read(ctx, func(q db.Query) (err error) {
		list, err = operatorsWhere(ctx, q, `id = $1`, id)
		return err
	}); err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, fault.New(fault.NotFound, "there is no operator %s", id)
	}
	return &list[0], nil
}

// operatorOf finds the operator that a client certificate belongs to. A name
// in the certificate counts only when an authority of the listener vouches for
// it; anybody can write a name into a certificate of his own.
func (s *Server) operatorOf(ctx context.Context, c *x509.Certificate, authorities *x509.CertPool) (*Operator, error) {
	var list []Operator
	err := s.db.Read(ctx, func(q db.Query) (err error) {
		if list, err = operatorsWhere(ctx, q, `key_pin = $1`, KeyPin(c)); err != nil || len(list) > 0 || authorities == nil {
			return err
		}
		if _, err := c.Verify(x509.VerifyOptions{Roots: authorities, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
			return nil // not an authority's: unknown, as the empty list says
		}
		for _, name := range append([]string{c.Subject.CommonName}, c.DNSNames...) {
			if list, err = operatorsWhere(ctx, q, `cert_name = $1`, name); err != nil || len(list) > 0 {
				return err
			}
		}
		return nil
	})
	if err != nil || len(list) == 0 {
		return nil, err
	}
	now := s.cfg.Now()
	if now.Before(c.NotBefore) || now.After(c.NotAfter) {
		return nil, nil
	}
	return &list[0], nil
}
