package sim

import (
	"context"
	"fmt"
	"time"

	"godwit/db"
	"godwit/event"
	"godwit/fault"
)

// A Fleet is a group of Sims with the same service.
type Fleet struct {
	SID        string
	Account    string
	UniqueName string
	Data       bool  // data service; cannot be changed
	DataLimit  int64 // megabytes per Sim and billing period
	SMS        bool  // SMS commands; cannot be changed
	SMSHook    Callback
	IPHook     Callback
	Access     string // SID of the network access profile
	CreatedAt  time.Time
	UpdatedAt  time.Time
}

// A Callback is where to tell about something: an address, empty for nobody,
// and GET or POST.
type Callback struct {
	URL    string
	Method string
}

// method returns the method of a callback. POST is the default.
func (c Callback) method() string {
	if c.Method == "" {
		return "POST"
	}
	return c.Method
}

// Key returns the Fleet's place in lists.
func (f Fleet) Key() Key { return Key{f.CreatedAt.UnixMicro(), f.SID} }

// Limits of a Fleet's data limit, in megabytes.
const (
	MinDataLimit     = 1
	MaxDataLimit     = 2_000_000
	DefaultDataLimit = 1000
)

const selectFleet = `select sid, account_sid, coalesce(unique_name, ''), data_enabled, data_limit, sms_commands_enabled,
	coalesce(sms_commands_url, ''), sms_commands_method, coalesce(ip_commands_url, ''), ip_commands_method,
	network_access_profile_sid, created_at, updated_at from fleet`

func scanFleet(r db.Row) (Fleet, error) {
	var f Fleet
	var created, updated int64
	err := r.Scan(&f.SID, &f.Account, &f.UniqueName, &f.Data, &f.DataLimit, &f.SMS,
		&f.SMSHook.URL, &f.SMSHook.Method, &f.IPHook.URL, &f.IPHook.Method, &f.Access, &created, &updated)
	f.CreatedAt, f.UpdatedAt = db.Time(created), db.Time(updated)
	return f, err
}

func findFleet(ctx context.Context, q db.Query, account, ref, suffix string) (Fleet, error) {
	f, err := find(ctx, q, scanFleet, selectFleet, FleetPrefix, account, ref, suffix)
	if db.None(err) {
		return f, notFound("Fleet", ref)
	}
	if err != nil {
		return f, fmt.Errorf("read fleet: %w", err)
	}
	return f, nil
}

// accessOf resolves the NetworkAccessProfile parameter of a Fleet.
func accessOf(ctx context.Context, q db.Query, account, ref string) (string, error) {
	a, err := findAccess(ctx, q, account, ref, "")
	if fault.Is(err, fault.NotFound) {
		return "", fault.Field("NetworkAccessProfile", "%.80q is neither the SID nor the unique name of a network access profile of this account", ref)
	}
	return a.SID, err
}

// CreateFleet makes a Fleet. Its Access may be the SID or the unique name of a
// network access profile.
func (s *Store) CreateFleet(ctx context.Context, f Fleet) (Fleet, error) {
	now := s.now()
	f.SID, f.CreatedAt, f.UpdatedAt = freshSID(FleetPrefix), now, now
	f.SMSHook.Method, f.IPHook.Method = f.SMSHook.method(), f.IPHook.method()
	if f.DataLimit == 0 {
		f.DataLimit = DefaultDataLimit
	}
	if err := checkDataLimit(f.DataLimit); err != nil {
		return Fleet{}, err
	}
	ref := f.Access
	err := s.named(ctx, f.UniqueName, 0, func(tx *db.Tx) (err error) {
		if f.Access, err = accessOf(ctx, tx, f.Account, ref); err != nil {
			return err
		}
		if err := checkName(ctx, tx, "fleet", FleetPrefix, f.Account, f.SID, f.UniqueName, 0); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `insert into fleet (sid, account_sid, unique_name, data_enabled, data_limit, sms_commands_enabled,
			sms_commands_url, sms_commands_method, ip_commands_url, ip_commands_method, network_access_profile_sid, created_at, updated_at)
			values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $12)`,
			f.SID, f.Account, db.Null(f.UniqueName), f.Data, f.DataLimit, f.SMS,
			db.Null(f.SMSHook.URL), f.SMSHook.Method, db.Null(f.IPHook.URL), f.IPHook.Method, f.Access, now.UnixMicro()); err != nil {
			return fmt.Errorf("store fleet: %w", err)
		}
		return s.record(ctx, tx, event.Event{
			Kind: "fleet.created", Subject: f.SID, Account: f.Account,
			Data: map[string]any{"unique_name": f.UniqueName, "network_access_profile": f.Access, "data_enabled": f.Data, "data_limit": f.DataLimit},
		})
	})
	if err != nil {
		return Fleet{}, err
	}
	return f, nil
}

func checkDataLimit(megabytes int64) error {
	if megabytes < MinDataLimit || megabytes > MaxDataLimit {
		return fault.Field("DataLimit", "must be from %d to %d megabytes, not %d", MinDataLimit, MaxDataLimit, megabytes)
	}
	return nil
}

// A FleetUpdate is what changes of a Fleet; nil changes nothing. An empty name
// or address takes it away.
type FleetUpdate struct {
	UniqueName        *string
	Access            *string // SID or unique name
	DataLimit         *int64
	SMSURL, SMSMethod *string
	IPURL, IPMethod   *string
}

// UpdateFleet changes a Fleet.
func (s *Store) UpdateFleet(ctx context.Context, account, ref string, u FleetUpdate) (Fleet, error) {
	var f Fleet
	err := s.named(ctx, deref(u.UniqueName), 0, func(tx *db.Tx) (err error) {
		if f, err = findFleet(ctx, tx, account, ref, tx.ForUpdate()); err != nil {
			return err
		}
		was := f
		if u.UniqueName != nil {
			f.UniqueName = *u.UniqueName
			if err := checkName(ctx, tx, "fleet", FleetPrefix, account, f.SID, f.UniqueName, 0); err != nil {
				return err
			}
		}
		if u.Access != nil {
			if f.Access, err = accessOf(ctx, tx, account, *u.Access); err != nil {
				return err
			}
		}
		if u.DataLimit != nil {
			f.DataLimit = *u.DataLimit
			if err := checkDataLimit(f.DataLimit); err != nil {
				return err
			}
		}
		set(&f.SMSHook.URL, u.SMSURL)
		set(&f.SMSHook.Method, u.SMSMethod)
		set(&f.IPHook.URL, u.IPURL)
		set(&f.IPHook.Method, u.IPMethod)
		f.SMSHook.Method, f.IPHook.Method = f.SMSHook.method(), f.IPHook.method()
		if f == was {
			return nil
		}
		f.UpdatedAt = s.now()
		if _, err := tx.ExecContext(ctx, `update fleet set unique_name = $1, data_limit = $2, sms_commands_url = $3, sms_commands_method = $4,
			ip_commands_url = $5, ip_commands_method = $6, network_access_profile_sid = $7, updated_at = $8 where sid = $9`,
			db.Null(f.UniqueName), f.DataLimit, db.Null(f.SMSHook.URL), f.SMSHook.Method,
			db.Null(f.IPHook.URL), f.IPHook.Method, f.Access, f.UpdatedAt.UnixMicro(), f.SID); err != nil {
			return fmt.Errorf("store %s: %w", f.SID, err)
		}
		if err := s.record(ctx, tx, event.Event{
			Kind: "fleet.updated", Subject: f.SID, Account: account,
			Data: map[string]any{"unique_name": f.UniqueName, "network_access_profile": f.Access, "data_limit": f.DataLimit},
		}); err != nil {
			return err
		}
		if s.FleetChanged != nil {
			if err := s.FleetChanged(ctx, tx, was, f); err != nil {
				return err
			}
		}
		if f.Access == was.Access && f.DataLimit == was.DataLimit {
			return nil
		}
		return s.Jobs.Add(ctx, tx, syncFleetArgs{Fleet: f.SID})
	})
	return f, err
}

// set overwrites a value if there is a new one.
func set(to *string, from *string) {
	if from != nil {
		*to = *from
	}
}

// Fleet returns one Fleet by SID or unique name.
func (s *Store) Fleet(ctx context.Context, account, ref string) (f Fleet, err error) {
	err = s.DB.Read(ctx, func(q db.Query) error {
		f, err = findFleet(ctx, q, account, ref, "")
		return err
	})
	return f, err
}

// Fleets lists an account's Fleets, those with the given network access profile
// (SID or unique name) if access is not empty.
func (s *Store) Fleets(ctx context.Context, account, access string, p Page) (l List[Fleet], err error) {
	err = s.DB.Read(ctx, func(q db.Query) error {
		c := &Conditions{}
		c.Equal("account_sid", account)
		if access != "" {
			a, err := findAccess(ctx, q, account, access, "")
			if fault.Is(err, fault.NotFound) {
				return nil // a filter that names nothing finds nothing
			}
			if err != nil {
				return err
			}
			c.Equal("network_access_profile_sid", a.SID)
		}
		l, err = QueryPage(ctx, q, scanFleet, selectFleet, c, p)
		return err
	})
	return l, err
}
