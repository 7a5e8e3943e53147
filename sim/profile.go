package sim

import (
	"context"
	"fmt"
	"time"

	"godwit/callback"
	"godwit/db"
	"godwit/event"
	"godwit/fault"
	"godwit/ident"
)

// A Profile is a reservation: an eSIM profile that waits on an SM-DP+ for one
// eUICC, or was fetched from there. The API calls it an ESimProfile.
type Profile struct {
	SID        string
	Account    string
	Status     ProfileStatus
	EID        string // as asked for, else of the eUICC that took it
	WantsCode  bool   // reserved with a matching ID
	Type       string // profile type at the SM-DP+
	ICCID      ident.ICCID
	MatchingID ident.MatchingID
	Address    string // of the SM-DP+: bare host, with port only if it is not 443
	SIM        string // SID of its Sim
	Order      string // SID of the order of many that it is of, if any
	Item       int64  // its place in that order, from 1
	// ErrorCode and ErrorMessage say why it failed: a number for programs and
	// words for people.
	ErrorCode    string
	ErrorMessage string
	CreatedAt    time.Time
	UpdatedAt    time.Time

	callback Callback
}

// Key returns the reservation's place in lists.
func (p Profile) Key() Key { return Key{p.CreatedAt.UnixMicro(), p.SID} }

// Settled reports whether the reservation has got its profile: until then
// nothing of what the SM-DP+ has prepared is shown.
func (p Profile) Settled() bool { return p.SIM != "" }

// ActivationCode returns the code without the "LPA:" that stands before it in a
// QR code, or nothing when the reservation has no matching ID. SGP.22 v2.5, 4.1.
func (p Profile) ActivationCode() string {
	if p.MatchingID == "" {
		return ""
	}
	return "1$" + p.Address + "$" + string(p.MatchingID)
}

const profileColumns = `sid, account_sid, status, coalesce(eid, ''), generate_matching_id, profile_type, coalesce(iccid, ''),
	coalesce(matching_id, ''), coalesce(smdp_plus_address, ''), coalesce(sim_sid, ''), coalesce(error_code, ''),
	coalesce(error_message, ''), coalesce(callback_url, ''), callback_method, created_at, updated_at,
	coalesce(order_sid, ''), coalesce(order_item, 0)`

const selectProfile = `select ` + profileColumns + ` from esim_profile`

func scanProfile(r db.Row) (Profile, error) {
	var p Profile
	var created, updated int64
	err := r.Scan(&p.SID, &p.Account, &p.Status, &p.EID, &p.WantsCode, &p.Type, &p.ICCID, &p.MatchingID, &p.Address,
		&p.SIM, &p.ErrorCode, &p.ErrorMessage, &p.callback.URL, &p.callback.Method, &created, &updated,
		&p.Order, &p.Item)
	p.CreatedAt, p.UpdatedAt = db.Time(created), db.Time(updated)
	return p, err
}

// A Reservation is what a customer asks for: a profile for the eUICC with this
// EID, one with a matching ID for whichever eUICC shows it, or both.
type Reservation struct {
	Account   string
	EID       string // 32 digits; the check digits are not looked at
	WantsCode bool
	Type      string // profile type, the store's default if empty
	Callback  Callback
}

// CheckEID refuses what is neither empty nor has the form of an EID.
func CheckEID(eid string) *fault.Error {
	if eid == "" || ident.EIDForm(eid) == nil {
		return nil
	}
	return fault.Field("Eid", "must be 32 decimal digits, not %.60q; examples in documentation hide some digits behind letters", eid)
}

// Reserve stores a reservation and has a profile prepared for it. Preparing
// happens afterwards: the reservation comes back as new.
func (s *Store) Reserve(ctx context.Context, r Reservation) (Profile, error) {
	if r.EID == "" && !r.WantsCode {
		return Profile{}, fault.Field("Eid", "is missing: give the Eid of the eUICC, or GenerateMatchingId=true for an activation code that any eUICC may use")
	}
	if refusal := CheckEID(r.EID); refusal != nil {
		return Profile{}, refusal
	}
	if r.Type == "" {
		r.Type = s.ProfileType
	}
	now := s.now()
	p := Profile{
		SID: freshSID(ProfilePrefix), Account: r.Account, Status: ProfileNew, EID: r.EID, WantsCode: r.WantsCode, Type: r.Type,
		CreatedAt: now, UpdatedAt: now, callback: r.Callback,
	}
	err := s.DB.Write(ctx, func(tx *db.Tx) error {
		// A reservation that nobody has begun with has a job that will take
		// this one along. Holding on to it keeps that job from passing by.
		var waiting string
		err := tx.QueryRowContext(ctx, nextWaiting+tx.SkipLocked()).Scan(&waiting)
		if err != nil && !db.None(err) {
			return fmt.Errorf("look for reservations that wait: %w", err)
		}
		if db.None(err) {
			if err := s.Jobs.Add(ctx, tx, reserveArgs{}); err != nil {
				return err
			}
		}
		if _, err := tx.ExecContext(ctx, `insert into esim_profile (sid, account_sid, status, eid, generate_matching_id, profile_type,
			callback_url, callback_method, lease, created_at, updated_at) values ($1, $2, $3, $4, $5, $6, $7, $8, 0, $9, $9)`,
			p.SID, p.Account, string(p.Status), db.Null(p.EID), p.WantsCode, p.Type, db.Null(p.callback.URL), p.callback.method(), now.UnixMicro()); err != nil {
			return fmt.Errorf("store reservation: %w", err)
		}
		return s.record(ctx, tx, event.Event{
			Kind: "esim_profile.new", Subject: p.SID, Account: p.Account,
			Data: map[string]any{"eid": p.EID, "generate_matching_id": p.WantsCode, "profile_type": p.Type},
		})
	})
	if err != nil {
		return Profile{}, err
	}
	return p, nil
}

// Profile returns one reservation.
func (s *Store) Profile(ctx context.Context, account, sid string) (p Profile, err error) {
	err = s.DB.Read(ctx, func(q db.Query) error {
		p, err = scanProfile(q.QueryRowContext(ctx, selectProfile+` where sid = $1 and account_sid = $2`, Canonical(sid), account))
		if db.None(err) {
			return notFound("ESimProfile", sid)
		}
		return err
	})
	return p, err
}

// A ProfileFilter selects reservations; empty members fit all.
type ProfileFilter struct {
	EID    string
	SIM    string // SID or unique name
	Status ProfileStatus
}

// Profiles lists an account's reservations.
func (s *Store) Profiles(ctx context.Context, account string, f ProfileFilter, page Page) (l List[Profile], err error) {
	c := &Conditions{}
	c.Equal("account_sid", account)
	c.Equal("eid", f.EID)
	c.Equal("status", string(f.Status))
	err = s.DB.Read(ctx, func(q db.Query) error {
		if f.SIM != "" {
			sid := Canonical(f.SIM)
			// A reservation stays where it was made when its Sim moves: what may be a
			// SID is not looked for among the account's Sims.
			if !IsSID(sid, SimPrefix) {
				one, err := findSim(ctx, q, account, f.SIM, "")
				if fault.Is(err, fault.NotFound) {
					return nil // a filter that names nothing finds nothing
				}
				if err != nil {
					return err
				}
				sid = one.SID
			}
			c.Equal("sim_sid", sid)
		}
		l, err = QueryPage(ctx, q, scanProfile, selectProfile, c, page)
		return err
	})
	return l, err
}

// advance moves a reservation on: its row, its event with the evidence, and
// the call to its customer. It makes the Sim when the profile becomes available.
func (s *Store) advance(ctx context.Context, tx *db.Tx, p *Profile, to ProfileStatus, ev event.Event) error {
	if !p.Status.CanBecome(to) {
		return fmt.Errorf("%s cannot become %s from %s", p.SID, to, p.Status)
	}
	from := p.Status
	now := s.now()
	p.Status, p.UpdatedAt = to, now
	data := map[string]any{"from": from, "to": to}
	switch to {
	case ProfileAvailable:
		if err := s.createSim(ctx, tx, p, now); err != nil {
			return err
		}
		data["iccid"], data["sim"], data["smdp_plus_address"] = p.ICCID, p.SIM, p.Address
	case ProfileDownloaded, ProfileInstalled:
		data["iccid"], data["eid"], data["sim"] = p.ICCID, p.EID, p.SIM
	case ProfileFailed:
		data["iccid"], data["eid"], data["error_code"], data["error_message"] = p.ICCID, p.EID, p.ErrorCode, p.ErrorMessage
	}
	if _, err := tx.ExecContext(ctx, `update esim_profile set status = $1, eid = $2, iccid = $3, matching_id = $4, smdp_plus_address = $5,
		sim_sid = $6, error_code = $7, error_message = $8, lease = 0, updated_at = $9 where sid = $10`,
		string(p.Status), db.Null(p.EID), db.Null(string(p.ICCID)), db.Null(string(p.MatchingID)), db.Null(p.Address),
		db.Null(p.SIM), db.Null(p.ErrorCode), db.Null(p.ErrorMessage), now.UnixMicro(), p.SID); err != nil {
		return fmt.Errorf("store %s as %s: %w", p.SID, to, err)
	}
	ev.Kind, ev.Subject, ev.Account, ev.Data = "esim_profile."+string(to), p.SID, p.Account, data
	if err := s.record(ctx, tx, ev); err != nil {
		return err
	}
	if to == ProfileAvailable && s.Ledger != nil {
		if err := s.Ledger.Add(ctx, tx, p.entry()); err != nil {
			return err
		}
	}
	return s.tell(ctx, tx, p)
}

// tell calls the customer of a reservation that has moved on.
func (s *Store) tell(ctx context.Context, tx *db.Tx, p *Profile) error {
	if to := p.Status; s.NarrowCallbacks && (to == ProfileDownloaded || to == ProfileInstalled) {
		return nil
	}
	iccid, address := string(p.ICCID), p.Address
	if !p.Settled() {
		iccid, address = "", "" // as the API shows it
	}
	return s.call(ctx, tx, p.Account, p.SID, p.callback, []callback.Param{
		{Name: "ESimProfileSid", Value: p.SID},
		{Name: "SimSid", Value: p.SIM},
		{Name: "SimIccid", Value: iccid},
		{Name: "ESimProfileStatus", Value: string(p.Status)},
		{Name: "Eid", Value: p.EID},
		{Name: "SmdpPlusAddress", Value: address},
		{Name: "ErrorCode", Value: p.ErrorCode},
		{Name: "ErrorMessage", Value: p.ErrorMessage},
	})
}
