package command

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strconv"
	"time"

	"godwit/db"
	"godwit/event"
	"godwit/fault"
	"godwit/jobs"
)

// ipArgs is the job that sends all waiting datagrams.
type ipArgs struct{}

// Kind names the job.
func (ipArgs) Kind() string { return "command.ip" }

const (
	ipBatch  = 200
	ipRounds = 100
	ipLease  = time.Minute
)

// sendIP sends datagrams until none waits. It may run again after a crash, and
// then sends those again of which it is not stored that they left: a device may
// get a datagram twice, as it may with UDP anyway.
func (s *Store) sendIP(ctx context.Context, h jobs.Hand) error {
	if err := h.LetGo(ctx, s.DB, "ip_command", "status = 'queued'"); err != nil {
		return err
	}
	for range ipRounds {
		var batch []IP
		err := s.DB.Write(ctx, func(tx *db.Tx) (err error) {
			now := s.now()
			batch, err = db.All(ctx, tx, scanIP, selectIP+` where status = 'queued' and lease < $1 order by lease, created_at limit `+
				fmt.Sprint(ipBatch)+tx.SkipLocked(), now.UnixMicro())
			if err != nil {
				return fmt.Errorf("read IP commands that wait: %w", err)
			}
			for _, m := range batch {
				if _, err := tx.ExecContext(ctx, `update ip_command set lease = $1, holder = $2 where sid = $3`, now.Add(ipLease).UnixMicro(), h.Job, m.SID); err != nil {
					return fmt.Errorf("claim IP command %s: %w", m.SID, err)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		if len(batch) == 0 {
			more, err := s.waits(ctx, "ip_command")
			if err != nil || !more {
				return err
			}
			continue // somebody who adds another one has it in hand
		}
		var trouble error
		for i := range batch {
			if trouble = s.emit(ctx, &batch[i]); trouble != nil {
				batch = batch[:i] // the others wait for the lease
				break
			}
		}
		if err := errors.Join(s.settleIP(context.WithoutCancel(ctx), batch), trouble); err != nil {
			return err
		}
	}
	return s.DB.Write(ctx, func(tx *db.Tx) error { return s.Jobs.Add(ctx, tx, ipArgs{}) })
}

// emit sends one datagram, and notes in it what became of it: an address, or an
// error.
func (s *Store) emit(ctx context.Context, m *IP) error {
	var addresses []netip.Addr
	err := s.DB.Read(ctx, func(q db.Query) (err error) {
		addresses, err = s.Sessions.Addresses(ctx, q, m.SIM)
		return err
	})
	if err != nil {
		return fmt.Errorf("look for the address of %s: %w", m.SIM, err)
	}
	if len(addresses) == 0 {
		m.ErrorCode, m.ErrorMessage = strconv.Itoa(CodeNotAttached), "The device is not attached: the Sim has no data session."
		return nil
	}
	if s.Port == nil {
		m.ErrorCode, m.ErrorMessage = strconv.Itoa(CodeIPFailed), "IP commands are not set up on this server: its operator has to give it a port for them."
		return nil
	}
	payload, err := octets(m.PayloadType, m.Payload)
	if err != nil {
		return fmt.Errorf("payload of %s: %w", m.SID, err)
	}
	for _, a := range addresses {
		if err = s.Port.Send(netip.AddrPortFrom(a, uint16(m.DevicePort)), payload); err == nil {
			m.DeviceIP = a.String()
			return nil
		}
	}
	m.ErrorCode, m.ErrorMessage = strconv.Itoa(CodeIPFailed), "The datagram could not be sent to the device: "+err.Error()+"."
	return nil
}

// settleIP stores what became of datagrams.
func (s *Store) settleIP(ctx context.Context, batch []IP) error {
	return s.DB.Write(ctx, func(tx *db.Tx) error {
		for _, done := range batch {
			m, err := scanIP(tx.QueryRowContext(ctx, selectIP+` where sid = $1 and status = 'queued'`+tx.ForUpdate(), done.SID))
			if db.None(err) {
				continue // ended by another run
			}
			if err != nil {
				return fmt.Errorf("read IP command: %w", err)
			}
			m.DeviceIP, m.ErrorCode, m.ErrorMessage = done.DeviceIP, done.ErrorCode, done.ErrorMessage
			to := Sent
			if m.ErrorCode != "" {
				to = Failed
			}
			if err := s.advanceIP(ctx, tx, &m, to); err != nil {
				return err
			}
		}
		return nil
	})
}

// A Datagram is what a device has sent.
type Datagram struct {
	From    netip.AddrPort
	Payload []byte
}

// TakeDatagrams keeps what devices have sent and tells their Fleets' webhooks.
// What comes from no device's address is passed over: the port may be reached by
// strangers.
func (s *Store) TakeDatagrams(ctx context.Context, all []Datagram) error {
	return s.DB.Write(ctx, func(tx *db.Tx) error {
		for _, d := range all {
			sid, err := s.Sessions.Holder(ctx, tx, d.From.Addr())
			if err != nil {
				return fmt.Errorf("look for the device at %s: %w", d.From, err)
			}
			if sid == "" {
				slog.DebugContext(ctx, "a datagram from nobody", "from", d.From.String())
				continue
			}
			if err := s.takeDatagram(ctx, tx, sid, d); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Store) takeDatagram(ctx context.Context, tx *db.Tx, sid string, d Datagram) error {
	one, err := s.Sims.BySID(ctx, tx, sid)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	fleet, ok, err := s.Sims.FleetOf(ctx, tx, one)
	if err != nil {
		return err
	}
	why := silenced(one, ok, fleet.Data, "data is")
	if why == "" && len(d.Payload) > MaxPayload {
		why = fmt.Sprintf("the datagram has %d bytes; %d are allowed", len(d.Payload), MaxPayload)
	}
	if why != "" {
		return s.dropped(ctx, tx, "ip_command.dropped", one, why, d.Payload, evidenceUDP)
	}
	now := s.now()
	m := IP{
		SID: freshSID(IPPrefix), Account: one.Account, SIM: one.SID, ICCID: one.ICCID, Direction: FromSim, Status: Received,
		DeviceIP: d.From.Addr().Unmap().String(), DevicePort: int(d.From.Port()), PayloadType: Binary,
		Payload: base64.StdEncoding.EncodeToString(d.Payload), CreatedAt: now, UpdatedAt: now,
	}
	if err := insertIP(ctx, tx, m); err != nil {
		return err
	}
	if err := s.record(ctx, tx, event.Event{
		Kind: "ip_command.received", Subject: m.SID, Account: m.Account, Data: map[string]any{"sim": m.SIM, "from": d.From.String()},
		Evidence: d.Payload, EvidenceKind: evidenceUDP,
	}); err != nil {
		return err
	}
	return s.tell(ctx, tx, m.Account, m.SID, fleet.IPHook, ipParams(m, one))
}
