package command

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"godwit/callback"
	"godwit/db"
	"godwit/event"
	"godwit/fault"
	"godwit/ident"
	"godwit/sim"
)

// Payload types of IP commands.
const (
	Text   = "text"
	Binary = "binary" // base64
)

// MaxPayload is the largest datagram, in octets.
const MaxPayload = 1300

// Codes of the catalogue for IP commands that fail.
const (
	CodeIPFailed    = 83400
	CodeNotAttached = 83401
)

// An IP is one datagram to a device or from it.
type IP struct {
	SID          string
	Account      string
	SIM          string // SID
	ICCID        ident.ICCID
	Direction    Direction
	Status       Status
	DeviceIP     string // empty until sent
	DevicePort   int
	PayloadType  string
	Payload      string // base64 for binary
	ErrorCode    string
	ErrorMessage string
	Callback     sim.Callback
	CreatedAt    time.Time
	UpdatedAt    time.Time
}

// Key returns the datagram's place in lists.
func (m IP) Key() sim.Key { return sim.Key{At: m.CreatedAt.UnixMicro(), SID: m.SID} }

const selectIP = `select sid, account_sid, sim_sid, sim_iccid, direction, status, device_ip, device_port, payload_type, payload,
	error_code, error_message, coalesce(callback_url, ''), callback_method, created_at, updated_at from ip_command`

func scanIP(r db.Row) (IP, error) {
	var m IP
	var created, updated int64
	err := r.Scan(&m.SID, &m.Account, &m.SIM, &m.ICCID, &m.Direction, &m.Status, &m.DeviceIP, &m.DevicePort, &m.PayloadType, &m.Payload,
		&m.ErrorCode, &m.ErrorMessage, &m.Callback.URL, &m.Callback.Method, &created, &updated)
	m.CreatedAt, m.UpdatedAt = db.Time(created), db.Time(updated)
	return m, err
}

// An IPOrder is what a customer wants sent. PayloadType is [Text] if empty.
type IPOrder struct {
	Account     string
	SIM         string // SID or unique name
	DevicePort  int
	PayloadType string
	Payload     string
	Callback    sim.Callback
}

// octets returns what a payload is on the wire.
func octets(kind, payload string) ([]byte, error) {
	if kind != Binary {
		return []byte(payload), nil
	}
	return base64.StdEncoding.DecodeString(payload)
}

func (o *IPOrder) check() error {
	if o.PayloadType == "" {
		o.PayloadType = Text
	}
	raw, err := octets(o.PayloadType, o.Payload)
	switch {
	case err != nil:
		return fault.Field("Payload", "is not base64 (RFC 4648, with padding), as PayloadType=binary wants it: %v", err)
	case len(raw) == 0:
		return fault.Field("Payload", "must not be empty")
	case len(raw) > MaxPayload:
		return fault.Field("Payload", "must be at most %d bytes on the wire, not %d", MaxPayload, len(raw))
	case o.DevicePort < 1 || o.DevicePort > 65535:
		return fault.Field("DevicePort", "must be from 1 to 65535, not %d", o.DevicePort)
	}
	return nil
}

// SendIP takes a datagram for a device. It is sent afterwards.
func (s *Store) SendIP(ctx context.Context, o IPOrder) (m IP, err error) {
	if err := o.check(); err != nil {
		return m, err
	}
	err = s.DB.Write(ctx, func(tx *db.Tx) error {
		one, fleet, err := s.target(ctx, tx, o.Account, o.SIM)
		if err != nil {
			return err
		}
		if !fleet.Data {
			return fault.Field("Sim", "data is off in the Sim's Fleet %s (DataEnabled), for good: the Sim needs another Fleet", fleet.SID)
		}
		now := s.now()
		m = IP{
			SID: freshSID(IPPrefix), Account: o.Account, SIM: one.SID, ICCID: one.ICCID, Direction: ToSim, Status: Queued,
			DevicePort: o.DevicePort, PayloadType: o.PayloadType, Payload: o.Payload, Callback: o.Callback, CreatedAt: now, UpdatedAt: now,
		}
		if err := s.wake(ctx, tx, "ip_command", ipArgs{}); err != nil {
			return err
		}
		if err := insertIP(ctx, tx, m); err != nil {
			return err
		}
		return s.record(ctx, tx, event.Event{
			Kind: "ip_command.queued", Subject: m.SID, Account: m.Account, Data: map[string]any{"sim": m.SIM, "port": m.DevicePort},
		})
	})
	return m, err
}

func insertIP(ctx context.Context, tx *db.Tx, m IP) error {
	if _, err := tx.ExecContext(ctx, `insert into ip_command (sid, account_sid, sim_sid, sim_iccid, direction, status, device_ip, device_port,
		payload_type, payload, error_code, error_message, callback_url, callback_method, lease, created_at, updated_at)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, '', '', $11, $12, 0, $13, $13)`,
		m.SID, m.Account, m.SIM, string(m.ICCID), string(m.Direction), string(m.Status), m.DeviceIP, m.DevicePort,
		m.PayloadType, m.Payload, db.Null(m.Callback.URL), method(m.Callback.Method), m.CreatedAt.UnixMicro()); err != nil {
		return fmt.Errorf("store IP command: %w", err)
	}
	return nil
}

// IP returns one datagram.
func (s *Store) IP(ctx context.Context, account, sid string) (m IP, err error) {
	err = s.DB.Read(ctx, func(q db.Query) error {
		if !sim.IsSID(sid, IPPrefix) {
			return fault.New(fault.NotFound, "there is no IP command %.80q", sid)
		}
		m, err = scanIP(q.QueryRowContext(ctx, selectIP+` where sid = $1 and account_sid = $2`, sim.Canonical(sid), account))
		if db.None(err) {
			return fault.New(fault.NotFound, "there is no IP command %s", sid)
		}
		return err
	})
	return m, err
}

// IPs lists an account's datagrams.
func (s *Store) IPs(ctx context.Context, account string, f Filter, p sim.Page) (l sim.List[IP], err error) {
	err = s.DB.Read(ctx, func(q db.Query) error {
		c, nothing, err := s.conditions(ctx, q, account, f)
		if err != nil || nothing {
			return err
		}
		l, err = sim.QueryPage(ctx, q, scanIP, selectIP, c, p)
		return err
	})
	return l, err
}

// advanceIP takes a datagram to its next status, records it and tells the
// customer.
func (s *Store) advanceIP(ctx context.Context, tx *db.Tx, m *IP, to Status) error {
	if !may(ipMoves, m.Status, to) {
		return fmt.Errorf("IP command %s cannot go from %s to %s", m.SID, m.Status, to)
	}
	m.Status, m.UpdatedAt = to, s.now()
	if _, err := tx.ExecContext(ctx, `update ip_command set status = $1, device_ip = $2, error_code = $3, error_message = $4, updated_at = $5 where sid = $6`,
		string(to), m.DeviceIP, m.ErrorCode, m.ErrorMessage, m.UpdatedAt.UnixMicro(), m.SID); err != nil {
		return fmt.Errorf("store IP command %s: %w", m.SID, err)
	}
	data := map[string]any{"sim": m.SIM}
	if to == Sent {
		data["to"] = netip.AddrPortFrom(netip.MustParseAddr(m.DeviceIP), uint16(m.DevicePort)).String()
	} else {
		data["error_code"], data["reason"] = m.ErrorCode, m.ErrorMessage
	}
	if err := s.record(ctx, tx, event.Event{Kind: "ip_command." + string(to), Subject: m.SID, Account: m.Account, Data: data}); err != nil {
		return err
	}
	one, err := s.Sims.BySID(ctx, tx, m.SIM)
	if err != nil {
		return err
	}
	return s.tell(ctx, tx, m.Account, m.SID, m.Callback, ipParams(*m, one))
}

// ipParams are the parameters of callbacks about datagrams.
func ipParams(m IP, one sim.Sim) []callback.Param {
	params := []callback.Param{
		{Name: "AccountSid", Value: m.Account},
		{Name: "ApiVersion", Value: "v1"},
		{Name: "CommandSid", Value: m.SID},
		{Name: "DeviceIp", Value: m.DeviceIP},
		{Name: "DevicePort", Value: strconv.Itoa(m.DevicePort)},
		{Name: "Direction", Value: string(m.Direction)},
		{Name: "Payload", Value: m.Payload},
		{Name: "PayloadType", Value: m.PayloadType},
		{Name: "SimIccid", Value: string(m.ICCID)},
		{Name: "SimSid", Value: m.SIM},
		{Name: "SimUniqueName", Value: one.UniqueName},
		{Name: "Status", Value: string(m.Status)},
	}
	if m.Direction == ToSim {
		params = append(params, callback.Param{Name: "ErrorCode", Value: m.ErrorCode}, callback.Param{Name: "ErrorMessage", Value: m.ErrorMessage})
	}
	return params
}
