package smdp

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

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
	if err := s.checkOperator(ctx, &o); err != nil {
		return o, err
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
			o.ID, o.Name, o.Requester, db.Null(o.KeyPin), db.Null(o.CertName), string(types), o.Progress, s.now()))
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

// checkOperator says what is wrong with an operator's description.
func (s *Server) checkOperator(ctx context.Context, o *Operator) error {
	switch {
	case strings.TrimSpace(o.Name) == "":
		return fault.Field("name", "an operator needs a name")
	case strings.TrimSpace(o.Requester) == "":
		return fault.Field("requester", "an operator needs the functionRequesterIdentifier that its calls carry")
	case o.Requester == local.Requester:
		return fault.Field("requester", "%q is the program's own identifier", o.Requester)
	case o.KeyPin == "" && o.CertName == "":
		return fault.Field("certificate", "an operator is known by its client certificate: give the certificate, or a name in it")
	case len(o.Types) == 0:
		return fault.Field("types", "name the profile types that the operator may order, or * for all")
	}
	if o.Progress != "" {
		if u, err := url.Parse(o.Progress); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
			return fault.Field("progress", "%q is not an http or https URL", o.Progress)
		}
	}
	for _, t := range o.Types {
		if t == "*" {
			continue
		}
		if _, err := s.loadType(ctx, t); err != nil {
			if errors.Is(err, errNoType) {
				return fault.Field("types", "there is no profile type %q", t)
			}
			return err
		}
	}
	return nil
}

// OperatorNamed returns the operator with an id or a requester identifier.
func (s *Server) OperatorNamed(ctx context.Context, name string) (Operator, error) {
	var list []Operator
	err := s.db.Read(ctx, func(q db.Query) (err error) {
		list, err = operatorsWhere(ctx, q, `id = $1 or requester = $1 order by case when id = $1 then 0 else 1 end`, name)
		return err
	})
	if err != nil {
		return Operator{}, err
	}
	if len(list) == 0 {
		return Operator{}, fault.New(fault.NotFound, "there is no operator %q", name)
	}
	return list[0], nil
}

// ChangeOperator stores a new description of the operator with o's id. The
// requester identifier stays: under it the operator's calls are known again.
// Every node obeys at once where the operator calls, and within [hearsFor] where
// it is told of progress.
func (s *Server) ChangeOperator(ctx context.Context, o Operator) error {
	if err := s.checkOperator(ctx, &o); err != nil {
		return err
	}
	types, err := json.Marshal(o.Types)
	if err != nil {
		return err
	}
	err = s.db.Write(ctx, func(tx *db.Tx) error {
		ok, err := changed(tx.ExecContext(ctx, `update operator set name = $1, key_pin = $2, cert_name = $3, profile_types = $4,
			progress_url = $5 where id = $6 and requester = $7`,
			o.Name, db.Null(o.KeyPin), db.Null(o.CertName), string(types), o.Progress, o.ID, o.Requester))
		if db.IsUnique(err) {
			return fault.New(fault.Conflict, "another operator is known by this certificate")
		}
		if err == nil && !ok {
			return fault.New(fault.NotFound, "there is no operator %s with requester identifier %q", o.ID, o.Requester)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("change operator: %w", err)
	}
	s.listeners.Delete(o.ID)
	return nil
}

// RemoveOperator forgets an operator. It is refused while orders of its are
// under way or profiles in stock belong to it, unless force is set: those orders may
// then still be downloaded, and nobody is told; that stock stays unused.
func (s *Server) RemoveOperator(ctx context.Context, id string, force bool) error {
	if !force {
		var orders, stock int
		err := s.db.Read(ctx, func(q db.Query) error {
			return q.QueryRowContext(ctx, `select
				count(case when operator = $1 and state in ('allocated', 'linked', 'confirmed', 'released', 'downloaded') then 1 end),
				count(case when owner = $1 and state = 'available' then 1 end)
				from profile where operator = $1 or owner = $1`, id).Scan(&orders, &stock)
		})
		if err != nil {
			return fmt.Errorf("look for orders of operator %s: %w", id, err)
		}
		if orders+stock > 0 {
			return fault.New(fault.Conflict, "operator %s has %d orders under way and %d profiles of its own in stock", id, orders, stock)
		}
	}
	err := s.db.Write(ctx, func(tx *db.Tx) error {
		// Another operator that comes to bear the same identifier gets no answers of this one.
		if _, err := tx.ExecContext(ctx, `delete from es2_call where requester in (select requester from operator where id = $1)`, id); err != nil {
			return err
		}
		ok, err := changed(tx.ExecContext(ctx, `delete from operator where id = $1`, id))
		if err == nil && !ok {
			return fault.New(fault.NotFound, "there is no operator %q", id)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("remove operator: %w", err)
	}
	s.listeners.Delete(id)
	return nil
}

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

// hearsFor is how long a node goes by what it read of an operator before it
// looks again: a change made elsewhere counts after that.
const hearsFor = 2 * time.Second

// A hearing is whether somebody hears of an operator's profiles, as read at a
// time.
type hearing struct {
	hears bool
	at    int64
}

// hears reports whether anybody is to be told about an operator's profiles. It
// is asked at every step of every download, so the answer is kept for a moment.
// Of an operator that has been removed nobody hears.
func (s *Server) hears(ctx context.Context, q db.Query, id string) (bool, error) {
	switch id {
	case "":
		return false, nil
	case LocalOperator:
		return s.cfg.Progress != nil, nil
	}
	now := s.now()
	if known, ok := s.listeners.Load(id); ok {
		if h := known.(hearing); now-h.at < hearsFor.Microseconds() {
			return h.hears, nil
		}
	}
	list, err := operatorsWhere(ctx, q, `id = $1`, id)
	if err != nil {
		return false, err
	}
	h := hearing{len(list) > 0 && list[0].Progress != "", now}
	s.listeners.Store(id, h)
	return h.hears, nil
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
	return &list[0], nil
}
