package smdp

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"godwit/db"
	"godwit/ident"
	"godwit/rsp"
	"godwit/saip"
)

// A profile is one row: stock, order and fate of one ICCID.
type profile struct {
	ICCID    ident.ICCID
	State    State
	Type     string
	Batch    string
	Owner    string
	IMSI     ident.IMSI
	MSISDN   string
	secrets  []byte
	Operator string
	Ordered  int64

	EID        ident.EID
	MatchingID sql.NullString
	codeHash   []byte
	SMDS       string
	Expires    int64

	DownloadAttempts int
	CodeAttempts     int
	generation       int64
	run              string
	bindKey          []byte
	bindSecret       []byte
	Failure          string
	Updated          int64
}

const profileColumns = `p.iccid, p.state, p.profile_type, p.batch, p.owner, p.imsi, p.msisdn, p.secrets, p.operator, p.ordered_at,
	p.eid, p.matching_id, p.code_hash, p.smds_address, p.expires_at,
	p.download_attempts, p.code_attempts, p.generation, p.run, p.bind_key, p.bind_secret, p.failure, p.updated_at`

// targets are where a row of profileColumns is scanned to.
func (p *profile) targets() []any {
	return []any{
		&p.ICCID, &p.State, &p.Type, &p.Batch, &p.Owner, &p.IMSI, &p.MSISDN, &p.secrets, &p.Operator, &p.Ordered,
		&p.EID, &p.MatchingID, &p.codeHash, &p.SMDS, &p.Expires,
		&p.DownloadAttempts, &p.CodeAttempts, &p.generation, &p.run, &p.bindKey, &p.bindSecret, &p.Failure, &p.Updated,
	}
}

// errNoProfile says that no row fits. It never leaves the package.
var errNoProfile = errors.New("no such profile")

// profileWhere reads the first row that fits a condition.
func profileWhere(ctx context.Context, q db.Query, where string, args ...any) (*profile, error) {
	p := &profile{}
	err := q.QueryRowContext(ctx, `select `+profileColumns+` from profile p where `+where, args...).Scan(p.targets()...)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, errNoProfile
	}
	if err != nil {
		return nil, fmt.Errorf("read profile: %w", err)
	}
	return p, nil
}

func profileByICCID(ctx context.Context, q db.Query, iccid ident.ICCID) (*profile, error) {
	return profileWhere(ctx, q, `p.iccid = $1`, string(iccid))
}

// expired reports whether the order has run out.
func (p *profile) expired(now int64) bool { return p.Expires != 0 && now >= p.Expires }

// Names of sealed fields. A value that is moved to another row does not open.
func secretsRow(iccid ident.ICCID) string { return "profile/" + string(iccid) + "/secrets" }
func codeRow(iccid ident.ICCID) string    { return "profile/" + string(iccid) + "/code" }
func bindRow(iccid ident.ICCID) string    { return "profile/" + string(iccid) + "/bind" }

// personal opens what is particular to the profile and lays it over what its
// type says.
func (s *Server) personal(p *profile, base saip.Personal) (saip.Personal, error) {
	data, err := s.db.Unseal(secretsRow(p.ICCID), p.secrets)
	if err != nil {
		return saip.Personal{}, fmt.Errorf("open secrets: %w", err)
	}
	return readPersonal(base, p.ICCID, p.IMSI, p.MSISDN, data)
}

// A ProfileInfo is what may be shown of a profile.
type ProfileInfo struct {
	ICCID            ident.ICCID `json:"iccid"`
	State            State       `json:"state"`
	Type             string      `json:"type"`
	Owner            string      `json:"owner,omitempty"`
	Operator         string      `json:"operator,omitempty"`
	IMSI             ident.IMSI  `json:"imsi"`
	MSISDN           string      `json:"msisdn,omitempty"`
	EID              ident.EID   `json:"eid,omitempty"`
	MatchingID       string      `json:"matching_id,omitempty"`
	SMDSAddress      string      `json:"smds_address,omitempty"`
	CodeRequired     bool        `json:"confirmation_code_required"`
	DownloadAttempts int         `json:"download_attempts"`
	CodeAttempts     int         `json:"code_attempts"`
	Failure          string      `json:"failure,omitempty"`
	Ordered          *time.Time  `json:"ordered_at,omitempty"`
	Expires          *time.Time  `json:"expires_at,omitempty"`
	Updated          *time.Time  `json:"updated_at,omitempty"`
}

func (p *profile) info() ProfileInfo {
	return ProfileInfo{
		ICCID: p.ICCID, State: p.State, Type: p.Type, Owner: p.Owner, Operator: p.Operator, IMSI: p.IMSI, MSISDN: p.MSISDN,
		EID: p.EID, MatchingID: p.MatchingID.String, SMDSAddress: p.SMDS, CodeRequired: len(p.codeHash) > 0,
		DownloadAttempts: p.DownloadAttempts, CodeAttempts: p.CodeAttempts, Failure: p.Failure,
		Ordered: moment(p.Ordered), Expires: moment(p.Expires), Updated: moment(p.Updated),
	}
}

func moment(micros int64) *time.Time {
	if micros == 0 {
		return nil
	}
	t := db.Time(micros)
	return &t
}

// Profile returns what may be shown of one profile, or false when there is none.
func (s *Server) Profile(ctx context.Context, iccid ident.ICCID) (info ProfileInfo, ok bool, err error) {
	err = s.db.Read(ctx, func(q db.Query) error {
		p, err := profileByICCID(ctx, q, iccid)
		if errors.Is(err, errNoProfile) {
			return nil
		}
		if err != nil {
			return err
		}
		info, ok = p.info(), true
		return nil
	})
	return info, ok, err
}

// Personal returns the personal data of a profile with its keys, for the
// core network that must know them too.
func (s *Server) Personal(ctx context.Context, iccid ident.ICCID) (personal saip.Personal, err error) {
	var p *profile
	if err := s.db.Read(ctx, func(q db.Query) (err error) {
		p, err = profileByICCID(ctx, q, iccid)
		return err
	}); err != nil {
		if errors.Is(err, errNoProfile) {
			err = rsp.Refuse(rsp.ICCIDUnknown, "no profile has ICCID %s", iccid)
		}
		return saip.Personal{}, err
	}
	t, err := s.loadType(ctx, p.Type)
	if err != nil {
		return saip.Personal{}, err
	}
	return s.personal(p, t.defaults)
}
