package sim

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"godwit/db"
	"godwit/event"
	"godwit/fault"
)

// Access is a network access profile: the networks that a Fleet's Sims may use.
type Access struct {
	SID        string
	Account    string
	UniqueName string
	CreatedAt  time.Time
	UpdatedAt  time.Time
}

// Key returns the profile's place in lists.
func (a Access) Key() Key { return Key{a.CreatedAt.UnixMicro(), a.SID} }

const selectAccess = `select sid, account_sid, coalesce(unique_name, ''), created_at, updated_at from network_access_profile`

func scanAccess(r db.Row) (Access, error) {
	var a Access
	var created, updated int64
	err := r.Scan(&a.SID, &a.Account, &a.UniqueName, &created, &updated)
	a.CreatedAt, a.UpdatedAt = db.Time(created), db.Time(updated)
	return a, err
}

// find reads the row that ref names within an account: by SID first, by unique
// name second. The error is sql.ErrNoRows when there is none.
func find[T any](ctx context.Context, q db.Query, scan func(db.Row) (T, error), query, prefix, account, ref, suffix string) (T, error) {
	if IsSID(ref, prefix) {
		found, err := scan(q.QueryRowContext(ctx, query+` where sid = $1 and account_sid = $2`+suffix, Canonical(ref), account))
		if !db.None(err) {
			return found, err
		}
	}
	return scan(q.QueryRowContext(ctx, query+` where account_sid = $1 and unique_name = $2`+suffix, account, ref))
}

// notFound is the refusal of a reference that names nothing of the account.
func notFound(kind, ref string) error {
	return fault.New(fault.NotFound, "there is no %s %q in this account", kind, ref)
}

// checkName refuses a unique name that could be mistaken for a SID of the same
// kind, and one that is taken.
func checkName(ctx context.Context, q db.Query, table, prefix, account, sid, name string, taken int) error {
	if name == "" {
		return nil
	}
	if IsSID(name, prefix) {
		return fault.Field("UniqueName", "must not have the form of a SID (%s and 32 hexadecimal digits)", prefix)
	}
	var other string
	err := q.QueryRowContext(ctx, `select sid from `+table+` where account_sid = $1 and unique_name = $2 and sid <> $3`, account, name, sid).Scan(&other)
	if db.None(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for the unique name in %s: %w", table, err)
	}
	return nameTaken(name, other, taken)
}

func nameTaken(name, other string, code int) error {
	of := ""
	if other != "" {
		of = " by " + other
	}
	return &fault.Error{
		Kind: fault.Invalid, Code: code, Field: "UniqueName",
		Message: fmt.Sprintf("%q is already used in this account%s; unique names are unique", name, of),
	}
}

// named runs a change that may give a unique name. Two changes that give the
// same name at the same moment both find it free; the database refuses one.
func (s *Store) named(ctx context.Context, name string, taken int, change func(tx *db.Tx) error) error {
	err := s.DB.Write(ctx, change)
	if err != nil && name != "" && db.IsUnique(err) {
		return nameTaken(name, "", taken)
	}
	return err
}

// CreateAccess makes a network access profile with the given networks.
func (s *Store) CreateAccess(ctx context.Context, account, name string, networks []string) (Access, error) {
	now := s.now()
	a := Access{SID: freshSID(AccessPrefix), Account: account, UniqueName: name, CreatedAt: now, UpdatedAt: now}
	var members []string
	for _, sid := range networks {
		n, ok := s.Catalogue.Network(sid)
		if !ok {
			return Access{}, unknownNetwork("Networks", sid)
		}
		if !slices.Contains(members, n.SID) {
			members = append(members, n.SID)
		}
	}
	err := s.named(ctx, name, 0, func(tx *db.Tx) error {
		if err := checkName(ctx, tx, "network_access_profile", AccessPrefix, account, a.SID, name, 0); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `insert into network_access_profile (sid, account_sid, unique_name, created_at, updated_at) values ($1, $2, $3, $4, $4)`,
			a.SID, account, db.Null(name), now.UnixMicro()); err != nil {
			return fmt.Errorf("store network access profile: %w", err)
		}
		for _, n := range members {
			if err := addNetwork(ctx, tx, a.SID, n, now); err != nil {
				return err
			}
		}
		return s.record(ctx, tx, event.Event{
			Kind: "network_access_profile.created", Subject: a.SID, Account: account,
			Data: map[string]any{"unique_name": name, "networks": members},
		})
	})
	if err != nil {
		return Access{}, err
	}
	return a, nil
}

func unknownNetwork(field, sid string) error {
	return fault.Field(field, "%.60q is not a network: networks are named by the SIDs (HW…) that the Networks resource lists", sid)
}

func addNetwork(ctx context.Context, tx *db.Tx, access, network string, now time.Time) error {
	if _, err := tx.ExecContext(ctx, `insert into network_access_profile_network (network_access_profile_sid, network_sid, created_at)
		values ($1, $2, $3) on conflict do nothing`, access, network, now.UnixMicro()); err != nil {
		return fmt.Errorf("store network of %s: %w", access, err)
	}
	return nil
}

// UpdateAccess renames a network access profile. A nil name changes nothing, an
// empty one takes the name away.
func (s *Store) UpdateAccess(ctx context.Context, account, ref string, name *string) (Access, error) {
	var a Access
	err := s.named(ctx, deref(name), 0, func(tx *db.Tx) (err error) {
		if a, err = findAccess(ctx, tx, account, ref, tx.ForUpdate()); err != nil || name == nil || *name == a.UniqueName {
			return err
		}
		if err := checkName(ctx, tx, "network_access_profile", AccessPrefix, account, a.SID, *name, 0); err != nil {
			return err
		}
		was := a.UniqueName
		a.UniqueName, a.UpdatedAt = *name, s.now()
		if _, err := tx.ExecContext(ctx, `update network_access_profile set unique_name = $1, updated_at = $2 where sid = $3`,
			db.Null(a.UniqueName), a.UpdatedAt.UnixMicro(), a.SID); err != nil {
			return fmt.Errorf("rename %s: %w", a.SID, err)
		}
		return s.record(ctx, tx, event.Event{
			Kind: "network_access_profile.updated", Subject: a.SID, Account: account,
			Data: map[string]any{"unique_name": change{was, a.UniqueName}},
		})
	})
	return a, err
}

// change is an old and a new value in an event.
type change struct {
	From string `json:"from"`
	To   string `json:"to"`
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func findAccess(ctx context.Context, q db.Query, account, ref, suffix string) (Access, error) {
	a, err := find(ctx, q, scanAccess, selectAccess, AccessPrefix, account, ref, suffix)
	if db.None(err) {
		return a, notFound("network access profile", ref)
	}
	if err != nil {
		return a, fmt.Errorf("read network access profile: %w", err)
	}
	return a, nil
}

// Access returns one network access profile by SID or unique name.
func (s *Store) Access(ctx context.Context, account, ref string) (a Access, err error) {
	err = s.DB.Read(ctx, func(q db.Query) error {
		a, err = findAccess(ctx, q, account, ref, "")
		return err
	})
	return a, err
}

// Accesses lists an account's network access profiles.
func (s *Store) Accesses(ctx context.Context, account string, p Page) (l List[Access], err error) {
	err = s.DB.Read(ctx, func(q db.Query) error {
		c := &Conditions{}
		c.Equal("account_sid", account)
		l, err = QueryPage(ctx, q, scanAccess, selectAccess, c, p)
		return err
	})
	return l, err
}

// AccessNetworks lists the networks of one network access profile.
func (s *Store) AccessNetworks(ctx context.Context, account, ref string, f NetworkFilter, p Page) (a Access, l List[Network], err error) {
	err = s.DB.Read(ctx, func(q db.Query) error {
		if a, err = findAccess(ctx, q, account, ref, ""); err != nil {
			return err
		}
		members, err := s.members(ctx, q, a.SID)
		l = pageOf(members, f, p)
		return err
	})
	return a, l, err
}

// members returns the networks of a profile by their positions. A network that
// has left the catalogue is passed over.
func (s *Store) members(ctx context.Context, q db.Query, access string) ([]Network, error) {
	sids, err := db.All(ctx, q, db.Only[string],
		`select network_sid from network_access_profile_network where network_access_profile_sid = $1`, access)
	if err != nil {
		return nil, fmt.Errorf("read networks of %s: %w", access, err)
	}
	var all []Network
	for _, sid := range sids {
		if n, ok := s.Catalogue.Network(sid); ok {
			all = append(all, n)
		}
	}
	slices.SortFunc(all, func(a, b Network) int { return strings.Compare(a.position(), b.position()) })
	return all, nil
}

// AccessNetwork returns one network of a profile.
func (s *Store) AccessNetwork(ctx context.Context, account, ref, network string) (a Access, n Network, err error) {
	err = s.DB.Read(ctx, func(q db.Query) error {
		if a, err = findAccess(ctx, q, account, ref, ""); err != nil {
			return err
		}
		members, err := s.members(ctx, q, a.SID)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(members, func(n Network) bool { return n.SID == Canonical(network) })
		if i < 0 {
			return notFound("network in this profile", network)
		}
		n = members[i]
		return nil
	})
	return a, n, err
}

// AddNetwork adds a network to a profile. Adding one that is there changes
// nothing.
func (s *Store) AddNetwork(ctx context.Context, account, ref, network string) (a Access, n Network, err error) {
	n, ok := s.Catalogue.Network(network)
	if !ok {
		return a, n, unknownNetwork("Network", network)
	}
	err = s.DB.Write(ctx, func(tx *db.Tx) error {
		if a, err = findAccess(ctx, tx, account, ref, tx.ForUpdate()); err != nil {
			return err
		}
		members, err := s.members(ctx, tx, a.SID)
		if err != nil || slices.ContainsFunc(members, func(m Network) bool { return m.SID == n.SID }) {
			return err
		}
		if err := addNetwork(ctx, tx, a.SID, n.SID, s.now()); err != nil {
			return err
		}
		return s.accessChanged(ctx, tx, a, "network_access_profile.network_added", n)
	})
	return a, n, err
}

// RemoveNetwork takes a network out of a profile.
func (s *Store) RemoveNetwork(ctx context.Context, account, ref, network string) error {
	return s.DB.Write(ctx, func(tx *db.Tx) error {
		a, err := findAccess(ctx, tx, account, ref, tx.ForUpdate())
		if err != nil {
			return err
		}
		gone, err := tx.ExecContext(ctx, `delete from network_access_profile_network where network_access_profile_sid = $1 and network_sid = $2`,
			a.SID, Canonical(network))
		if err != nil {
			return fmt.Errorf("remove network of %s: %w", a.SID, err)
		}
		if n, err := gone.RowsAffected(); err != nil || n == 0 {
			if err != nil {
				return fmt.Errorf("remove network of %s: %w", a.SID, err)
			}
			return notFound("network in this profile", network)
		}
		n, _ := s.Catalogue.Network(network)
		return s.accessChanged(ctx, tx, a, "network_access_profile.network_removed", n)
	})
}

// accessChanged records a change of a profile's networks and has the core
// network told about every Sim that it concerns.
func (s *Store) accessChanged(ctx context.Context, tx *db.Tx, a Access, kind string, n Network) error {
	if _, err := tx.ExecContext(ctx, `update network_access_profile set updated_at = $1 where sid = $2`, s.now().UnixMicro(), a.SID); err != nil {
		return fmt.Errorf("touch %s: %w", a.SID, err)
	}
	if err := s.record(ctx, tx, event.Event{
		Kind: kind, Subject: a.SID, Account: a.Account,
		Data: map[string]any{"network": n.SID, "name": n.Name, "country": n.Country},
	}); err != nil {
		return err
	}
	fleets, err := db.All(ctx, tx, db.Only[string],
		`select sid from fleet where network_access_profile_sid = $1`, a.SID)
	if err != nil {
		return fmt.Errorf("read fleets of %s: %w", a.SID, err)
	}
	for _, fleet := range fleets {
		if err := s.Jobs.Add(ctx, tx, syncFleetArgs{Fleet: fleet}); err != nil {
			return err
		}
	}
	return nil
}
