package smdp

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	_ "image/jpeg" // icons
	_ "image/png"
	"slices"
	"strings"

	"godwit/db"
	"godwit/fault"
	"godwit/ident"
	"godwit/rsp"
	"godwit/saip"
)

// Protection is under which keys a package travels.
type Protection string

// The protections. Session keys are made for each delivery. Random protection
// keys (PPK) are kept with the profile, so that the large part of the package stays
// as it is when the eUICC comes back with another one-time key. SGP.22 v2.5, 2.5.5.
const (
	SessionKeys Protection = "session"
	PPK         Protection = "ppk"
)

// A ProfileType is what profiles are made of: a template and what users see.
// It never changes, because a package that is delivered again must be the same.
type ProfileType struct {
	ID         string        `json:"id"`
	Name       string        `json:"name"`
	Template   []byte        `json:"template"` // SAIP package, DER
	Metadata   Metadata      `json:"metadata"`
	Protection Protection    `json:"protection"`
	Defaults   saip.Personal `json:"-"` // what all profiles of the type share: service centre, home network keys ..
}

// Metadata describes the profiles of a type towards users and eUICCs.
type Metadata struct {
	ServiceProvider string         `json:"service_provider"`
	Name            string         `json:"name"`
	Icon            []byte         `json:"icon,omitempty"`  // PNG or JPEG, 64 by 64 pixels
	Class           string         `json:"class,omitempty"` // operational (default), provisioning, test
	Owner           *Owner         `json:"owner,omitempty"` // required with PPRs
	PPRs            []string       `json:"pprs,omitempty"`  // ppr1: may not be disabled; ppr2: may not be deleted
	Notifications   []Notification `json:"notifications,omitempty"`
	Access          []string       `json:"access,omitempty"` // radio access the device must have: eutran, nr5gc ..
}

// Owner is the operator named in the metadata.
type Owner struct {
	PLMN string `json:"plmn"`           // 001/01
	GID1 string `json:"gid1,omitempty"` // hexadecimal
	GID2 string `json:"gid2,omitempty"`
}

// A Notification asks eUICCs to report events of the profile.
type Notification struct {
	Events  []string `json:"events"`            // install, enable, disable, delete
	Address string   `json:"address,omitempty"` // "" is this server
}

// A loadedType is a profile type ready for use.
type loadedType struct {
	id         string
	name       string
	template   *saip.Template
	fields     map[string]bool // fields of personal data that the template has a place for
	metadata   rsp.Metadata    // of all profiles of the type; copy it before use
	access     []rsp.Technology
	protection Protection
	defaults   saip.Personal
}

// errNoType says that there is no such type. It never leaves the package.
var errNoType = errors.New("no such profile type")

var accesses = map[string]rsp.Technology{
	"gsm": rsp.GSM, "utran": rsp.UTRAN, "cdma1x": rsp.CDMA2000OneX, "hrpd": rsp.CDMA2000HRPD, "ehrpd": rsp.CDMA2000EHRPD,
	"eutran": rsp.EUTRANEPC, "contactless": rsp.ContactlessFrontEnd, "nrepc": rsp.NREPC, "nr5gc": rsp.NR5GC, "eutran5gc": rsp.EUTRAN5GC,
}

var events = map[string]rsp.Event{
	"install": rsp.EventInstall, "enable": rsp.EventEnable, "disable": rsp.EventDisable, "delete": rsp.EventDelete,
}

var (
	classes  = map[string]rsp.ProfileClass{"": rsp.ClassOperational, "operational": rsp.ClassOperational, "provisioning": rsp.ClassProvisioning, "test": rsp.ClassTest}
	policies = map[string]rsp.PPR{"ppr1": rsp.PPR1, "ppr2": rsp.PPR2}
)

// message turns the description into the metadata of SGP.22, without ICCID.
// address is this server's.
func (m *Metadata) message(address string) (rsp.Metadata, error) {
	out := rsp.Metadata{ServiceProvider: m.ServiceProvider, Name: m.Name}
	class, ok := classes[m.Class]
	if !ok {
		return out, fault.Field("metadata.class", "a class is operational, provisioning or test, not %q", m.Class)
	}
	out.Class = class
	if len(m.Icon) > 0 {
		kind := int64(0)
		switch {
		case strings.HasPrefix(string(m.Icon), "\x89PNG"):
			kind = 1
		case !strings.HasPrefix(string(m.Icon), "\xFF\xD8"):
			return out, fault.Field("metadata.icon", "an icon is a PNG or JPEG image")
		}
		size, _, err := image.DecodeConfig(bytes.NewReader(m.Icon))
		if err != nil {
			return out, fault.Field("metadata.icon", "an icon is a PNG or JPEG image; this cannot be read: %v", err)
		}
		if size.Width != 64 || size.Height != 64 {
			return out, fault.Field("metadata.icon", "an icon is 64 by 64 pixels; this is %d by %d", size.Width, size.Height)
		}
		out.Icon, out.IconType = m.Icon, &kind
	}
	if m.Owner != nil {
		plmn, err := ident.ParsePLMN(m.Owner.PLMN)
		if err != nil {
			return out, fault.Field("metadata.owner.plmn", "%v", err)
		}
		out.Owner = &rsp.OperatorID{PLMN: [3]byte(plmn.Octets())}
		for _, gid := range []struct {
			name, digits string
			to           *[]byte
		}{{"gid1", m.Owner.GID1, &out.Owner.GID1}, {"gid2", m.Owner.GID2, &out.Owner.GID2}} {
			if gid.digits == "" {
				continue
			}
			octets, err := hex.DecodeString(gid.digits)
			if err != nil {
				return out, fault.Field("metadata.owner."+gid.name, "a group identifier is hexadecimal: %v", err)
			}
			*gid.to = octets
		}
	}
	for _, name := range m.PPRs {
		rule, ok := policies[strings.ToLower(name)]
		if !ok {
			return out, fault.Field("metadata.pprs", "a policy rule is ppr1 or ppr2, not %q", name)
		}
		out.PPRs |= rule
	}
	for _, n := range m.Notifications {
		config := rsp.NotificationConfig{Address: n.Address}
		if config.Address == "" {
			config.Address = address
		}
		for _, name := range n.Events {
			event, ok := events[name]
			if !ok {
				return out, fault.Field("metadata.notifications", "an event is install, enable, disable or delete, not %q", name)
			}
			config.Events |= event
		}
		if config.Events == 0 {
			return out, fault.Field("metadata.notifications", "name the events to be notified of")
		}
		out.Notifications = append(out.Notifications, config)
	}
	check := out
	check.ICCID = "8900000000000000000"
	if err := check.Check(); err != nil {
		return out, fault.Field("metadata", "%v", err)
	}
	return out, nil
}

// prepare makes a type ready for use, or says what is wrong with it.
func (t *ProfileType) prepare(address string) (*loadedType, error) {
	out := &loadedType{id: t.ID, name: t.Name, protection: t.Protection, defaults: t.Defaults}
	if t.Protection != SessionKeys && t.Protection != PPK {
		return nil, fault.Field("protection", "protection is session or ppk, not %q", t.Protection)
	}
	var err error
	if out.metadata, err = t.Metadata.message(address); err != nil {
		return nil, err
	}
	for _, name := range t.Metadata.Access {
		technology, ok := accesses[name]
		if !ok {
			return nil, fault.Field("metadata.access", "%q is no radio access", name)
		}
		out.access = append(out.access, technology)
	}
	if out.template, err = saip.NewTemplate(t.ID, t.Template); err != nil {
		return nil, fault.Field("template", "%v", err)
	}
	out.fields = map[string]bool{}
	for _, name := range out.template.Fields() {
		out.fields[name] = true
	}
	return out, nil
}

// AddType stores a profile type. The id is what orders name.
func (s *Server) AddType(ctx context.Context, t ProfileType) error {
	if t.ID == "" || len(t.ID) > 64 || strings.Trim(t.ID, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") != "" {
		return fault.Field("id", "an id is 1 to 64 letters, digits, dots, hyphens and underscores, not %q", t.ID)
	}
	if t.Protection == "" {
		t.Protection = SessionKeys
	}
	if t.Name == "" {
		t.Name = t.ID
	}
	if _, err := t.prepare(s.Address()); err != nil {
		return err
	}
	metadata, err := json.Marshal(t.Metadata)
	if err != nil {
		return err
	}
	defaults, err := json.Marshal(t.Defaults)
	if err != nil {
		return err
	}
	return s.db.Write(ctx, func(tx *db.Tx) error {
		ok, err := changed(tx.ExecContext(ctx, `insert into profile_type (id, name, template, metadata, defaults, protection, created_at)
			values ($1, $2, $3, $4, $5, $6, $7) on conflict (id) do nothing`, t.ID, t.Name, t.Template, string(metadata),
			s.db.Seal(typeRow(t.ID), defaults), string(t.Protection), s.now()))
		if err != nil {
			return fmt.Errorf("store profile type %s: %w", t.ID, err)
		}
		if !ok {
			return fault.New(fault.Conflict, "there is a profile type %q already; a type never changes, so give the new one another id", t.ID)
		}
		return nil
	})
}

func typeRow(id string) string { return "profile_type/" + id + "/defaults" }

// Types returns all profile types, by id.
func (s *Server) Types(ctx context.Context) (list []ProfileType, err error) {
	err = s.db.Read(ctx, func(q db.Query) error {
		rows, err := q.QueryContext(ctx, typeQuery+` order by id`)
		if err != nil {
			return fmt.Errorf("read profile types: %w", err)
		}
		defer rows.Close()
		list = nil
		for rows.Next() {
			t, err := s.scanType(rows)
			if err != nil {
				return err
			}
			list = append(list, *t)
		}
		return rows.Err()
	})
	return list, err
}

const typeQuery = `select id, name, template, metadata, defaults, protection from profile_type`

func (s *Server) scanType(row db.Row) (*ProfileType, error) {
	var t ProfileType
	var metadata string
	var sealed []byte
	if err := row.Scan(&t.ID, &t.Name, &t.Template, &metadata, &sealed, &t.Protection); err != nil {
		return nil, err
	}
	defaults, err := s.db.Unseal(typeRow(t.ID), sealed)
	if err != nil {
		return nil, fmt.Errorf("read profile type %s: %w", t.ID, err)
	}
	for _, part := range []struct {
		from []byte
		to   any
	}{{[]byte(metadata), &t.Metadata}, {defaults, &t.Defaults}} {
		if err := json.Unmarshal(part.from, part.to); err != nil {
			return nil, fmt.Errorf("read profile type %s: %w", t.ID, err)
		}
	}
	return &t, nil
}

// loadType returns a type ready for use. Types never change, so one that was
// read once is kept.
func (s *Server) loadType(ctx context.Context, id string) (*loadedType, error) {
	if t, ok := s.types.Load(id); ok {
		return t.(*loadedType), nil
	}
	var t *ProfileType
	err := s.db.Read(ctx, func(q db.Query) (err error) {
		t, err = s.scanType(q.QueryRowContext(ctx, typeQuery+` where id = $1`, id))
		return err
	})
	if errors.Is(err, sql.ErrNoRows) {
		return nil, errNoType
	}
	if err != nil {
		return nil, fmt.Errorf("read profile type %s: %w", id, err)
	}
	loaded, err := t.prepare(s.Address())
	if err != nil {
		return nil, fmt.Errorf("prepare profile type %s: %w", id, err)
	}
	s.types.Store(id, loaded)
	return loaded, nil
}

// metadataOf returns the metadata of one profile of the type, as it is loaded
// through this listener.
func (l *Listener) metadataOf(t *loadedType, iccid ident.ICCID) *rsp.Metadata {
	m := t.metadata
	m.ICCID = iccid
	if here := l.address(); here != l.Address() {
		m.Notifications = slices.Clone(m.Notifications)
		for i := range m.Notifications {
			if m.Notifications[i].Address == l.Address() {
				m.Notifications[i].Address = here
			}
		}
	}
	return &m
}

// eligible decides whether an eUICC in a device can carry a profile of the type.
// SGP.22 v2.5, annex F.
func (t *loadedType) eligible(needs saip.Needs, info *rsp.EUICCInfo2, device *rsp.DeviceInfo) *rsp.Failure {
	refuse := func(format string, args ...any) *rsp.Failure {
		return rsp.Refuse(rsp.NoEligibleProfile, format, args...)
	}
	if info.RSP&rsp.AdditionalProfile == 0 {
		return refuse("the eUICC can take no further profile")
	}
	if forbidden := t.metadata.PPRs & info.ForbiddenPPRs; forbidden != 0 {
		return refuse("the eUICC forbids a policy rule of the profile")
	}
	if t.metadata.Class == rsp.ClassTest && info.RSP&rsp.TestProfileSupport == 0 {
		return refuse("the eUICC takes no test profiles")
	}
	if v := (rsp.Version{byte(needs.Major), byte(needs.Minor)}); !info.Reads(v) {
		return refuse("the eUICC reads profile packages of version %s, the profile has version %d.%d", info.ProfileVersion, needs.Major, needs.Minor)
	}
	if missing := needs.Missing(uint64(info.UICC)); len(missing) > 0 {
		return refuse("the eUICC lacks %s", strings.Join(missing, ", "))
	}
	if i := slices.IndexFunc(t.access, func(a rsp.Technology) bool { return device.Releases[a].IsZero() }); i >= 0 {
		return refuse("the device lacks a radio access that the profile needs")
	}
	// A card that says nothing about its memory is believed to have enough.
	if free := int(info.Resource.FreeNonVolatile); free > 0 && free < needs.Memory {
		return rsp.Refuse(rsp.MemoryInsufficient, "the profile needs %d octets, the eUICC has %d", needs.Memory, free)
	}
	return nil
}
