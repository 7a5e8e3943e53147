package sim

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"godwit/db"
	"godwit/event"
	"godwit/fault"
	"godwit/ident"
	"godwit/jobs"
)

// A SettingsStatus is where an update of a Sim's settings stands.
type SettingsStatus string

// The life of a settings update.
const (
	SettingsScheduled  SettingsStatus = "scheduled"
	SettingsInProgress SettingsStatus = "in-progress"
	SettingsSuccessful SettingsStatus = "successful"
	SettingsFailed     SettingsStatus = "failed"
)

// SettingsStatuses lists the statuses in the order of a life.
var SettingsStatuses = []SettingsStatus{SettingsScheduled, SettingsInProgress, SettingsSuccessful, SettingsFailed}

// A SettingsUpdate brings settings to one Sim: those of the factory, or the
// networks that its Fleet prefers. It follows the Sim into another account.
type SettingsUpdate struct {
	SID         string
	SIM         string
	ICCID       ident.ICCID
	Status      SettingsStatus
	Package     string
	Version     string
	Settings    string // JSON
	Reason      string // why it failed
	CompletedAt time.Time
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

// Key returns the update's place in lists.
func (u SettingsUpdate) Key() Key { return Key{u.CreatedAt.UnixMicro(), u.SID} }

// Packages of settings.
const (
	FactorySettings  = "base-settings"
	NetworkSettings  = "preferred-networks"
	SettingsPrefix   = "OB"
	settingsBatch    = 100
	settingsLease    = time.Minute
	settingsPatience = 15 * time.Minute
)

// A Settler brings settings to a card or profile, over the air or by the core
// network that steers it. Settling twice changes nothing the second time. A
// [*fault.Error] is the card's or the network's last word; with any other error
// the call is made again later.
type Settler interface {
	Settle(ctx context.Context, sub Subscriber) error
}

// settle brings a Sim its settings. Without a [Settler] it is the core network
// that holds them: it lets the Sim attach to those networks and no others.
func (s *Store) settle(ctx context.Context, sub Subscriber) error {
	if s.Settler != nil {
		return s.Settler.Settle(ctx, sub)
	}
	return s.Network.Apply(ctx, sub)
}

const selectSettings = `select sid, sim_sid, iccid, status, package, version, settings, reason, completed_at, created_at, updated_at from settings_update`

func scanSettings(r db.Row) (SettingsUpdate, error) {
	var u SettingsUpdate
	var completed, created, updated int64
	err := r.Scan(&u.SID, &u.SIM, &u.ICCID, &u.Status, &u.Package, &u.Version, &u.Settings, &u.Reason, &completed, &created, &updated)
	if completed != 0 {
		u.CompletedAt = db.Time(completed)
	}
	u.CreatedAt, u.UpdatedAt = db.Time(created), db.Time(updated)
	return u, err
}

// SettingsUpdates lists the updates of an account's Sims, those of one Sim (SID
// or unique name) and of one status if they are given.
func (s *Store) SettingsUpdates(ctx context.Context, account, ref string, status SettingsStatus, p Page) (l List[SettingsUpdate], err error) {
	c := &Conditions{}
	c.Equal("status", string(status))
	err = s.DB.Read(ctx, func(q db.Query) error {
		if ref == "" {
			condition, err := ofAccount(ctx, q, account)
			if err != nil {
				return err
			}
			c.Add(condition, account)
		} else {
			one, err := findSim(ctx, q, account, ref, "")
			if fault.Is(err, fault.NotFound) {
				return nil // a filter that names nothing finds nothing
			}
			if err != nil {
				return err
			}
			c.Equal("sim_sid", one.SID)
		}
		l, err = QueryPage(ctx, q, scanSettings, selectSettings, c, p)
		return err
	})
	return l, err
}

// ofAccount returns the condition on updates of an account's Sims. They belong to
// whoever has the Sim, so that there is no index of an account's updates. Those of a
// few Sims are gathered and sorted. Where the Sims are many the list is walked, newest
// first, and each update looked at: nearly all are of accounts that have many.
func ofAccount(ctx context.Context, q db.Query, account string) (condition string, err error) {
	var sims int
	if err := q.QueryRowContext(ctx, `select count(*) from (select 1 from sim where account_sid = $1 limit 1001) few`, account).Scan(&sims); err != nil {
		return "", fmt.Errorf("count Sims: %w", err)
	}
	if sims <= 1000 {
		return "sim_sid in (select sid from sim where account_sid = $)", nil
	}
	return "exists (select 1 from sim where sim.sid = settings_update.sim_sid and sim.account_sid = $)", nil
}

func addSettings(ctx context.Context, tx *db.Tx, u SettingsUpdate) error {
	completed := int64(0)
	if !u.CompletedAt.IsZero() {
		completed = u.CompletedAt.UnixMicro()
	}
	_, err := tx.ExecContext(ctx, `insert into settings_update (sid, sim_sid, iccid, status, package, version, settings, reason, lease,
		completed_at, created_at, updated_at) values ($1, $2, $3, $4, $5, $6, $7, '', 0, $8, $9, $9)`,
		u.SID, u.SIM, string(u.ICCID), string(u.Status), u.Package, u.Version, u.Settings, completed, u.CreatedAt.UnixMicro())
	if err != nil {
		return fmt.Errorf("store settings of %s: %w", u.SIM, err)
	}
	return nil
}

// factorySettings records what a Sim was made with.
func factorySettings(ctx context.Context, tx *db.Tx, sim string, iccid ident.ICCID, now time.Time) error {
	return addSettings(ctx, tx, SettingsUpdate{
		SID: freshSID(SettingsPrefix), SIM: sim, ICCID: iccid, Status: SettingsSuccessful, Package: FactorySettings, Version: "1.0.0",
		Settings: "[]", CompletedAt: now, CreatedAt: now,
	})
}

// scheduleSettings has a Sim that the core network serves brought the networks
// of its Fleet, unless they are what it was brought or is being brought.
func (s *Store) scheduleSettings(ctx context.Context, tx *db.Tx, p *policies, one Sim) error {
	if !one.Status.Attaches() || one.Fleet == "" {
		return nil
	}
	sub, err := p.subscriber(ctx, one)
	if err != nil {
		return err
	}
	wanted, err := json.Marshal(sub.Networks)
	if err != nil {
		return fmt.Errorf("write the settings of %s: %w", one.SID, err)
	}
	var last string
	var status SettingsStatus
	err = tx.QueryRowContext(ctx, `select settings, status from settings_update where sim_sid = $1 and package = $2
		order by created_at desc, sid desc limit 1`, one.SID, NetworkSettings).Scan(&last, &status)
	if err != nil && !db.None(err) {
		return fmt.Errorf("read settings of %s: %w", one.SID, err)
	}
	if err == nil && last == string(wanted) && status != SettingsFailed {
		return nil
	}
	var earlier int
	if err := tx.QueryRowContext(ctx, `select count(*) from settings_update where sim_sid = $1 and package = $2`,
		one.SID, NetworkSettings).Scan(&earlier); err != nil {
		return fmt.Errorf("count settings of %s: %w", one.SID, err)
	}
	now := s.now()
	u := SettingsUpdate{
		SID: freshSID(SettingsPrefix), SIM: one.SID, ICCID: one.ICCID, Status: SettingsScheduled, Package: NetworkSettings,
		Version: fmt.Sprintf("1.0.%d", earlier), Settings: string(wanted), CreatedAt: now,
	}
	if err := addSettings(ctx, tx, u); err != nil {
		return err
	}
	if err := s.record(ctx, tx, event.Event{
		Kind: "sim.settings_scheduled", Subject: one.SID, Account: one.Account,
		Data: map[string]any{"settings_update": u.SID, "package": u.Package, "version": u.Version, "networks": sub.Networks},
	}); err != nil {
		return err
	}
	return s.Jobs.AddUnique(ctx, tx, settingsArgs{})
}

// settingsArgs is the job that brings waiting settings to Sims.
type settingsArgs struct{}

// Kind names the job.
func (settingsArgs) Kind() string { return "sim.settings" }

// bringSettings works on settings updates until none waits. It may run again
// after a crash: what is in progress is brought once more.
func (s *Store) bringSettings(ctx context.Context, h jobs.Hand) error {
	if err := h.LetGo(ctx, s.DB, "settings_update", "status in ('scheduled', 'in-progress')"); err != nil {
		return err
	}
	for {
		var batch []SettingsUpdate
		err := s.DB.Write(ctx, func(tx *db.Tx) (err error) {
			now := s.now()
			if batch, err = db.All(ctx, tx, scanSettings, selectSettings+` where status in ('scheduled', 'in-progress') and lease < $1
				order by lease, created_at limit `+fmt.Sprint(settingsBatch)+tx.SkipLocked(), now.UnixMicro()); err != nil {
				return fmt.Errorf("read settings that wait: %w", err)
			}
			rows := make([][]any, len(batch))
			for i, u := range batch {
				rows[i] = []any{u.SID}
			}
			_, err = tx.ExecMany(ctx, `update settings_update set status = 'in-progress', lease = $1, updated_at = $2, holder = $3
				from (values {text}) v where sid = v.column1`, []any{now.Add(settingsLease).UnixMicro(), now.UnixMicro(), h.Job}, rows)
			return err
		})
		if err != nil || len(batch) == 0 {
			return err
		}
		for _, u := range batch {
			if err := s.bring(ctx, u); err != nil {
				return err
			}
		}
	}
}

// bring brings one Sim its settings and writes down what came of it.
func (s *Store) bring(ctx context.Context, u SettingsUpdate) error {
	var one Sim
	var sub Subscriber
	err := s.DB.Read(ctx, func(q db.Query) (err error) {
		if one, err = oneSim(ctx, q, "sid", u.SIM, ""); err != nil {
			return err
		}
		sub, err = s.policies(q).subscriber(ctx, one)
		return err
	})
	if err != nil {
		return fmt.Errorf("read the settings of %s: %w", u.SIM, err)
	}
	if one.Status == Scheduled {
		return s.DB.Write(ctx, func(tx *db.Tx) error { return s.putOff(ctx, tx, u) })
	}
	var told error
	if sub.Attach {
		told = s.settle(ctx, sub)
	} else {
		told = fault.New(fault.Conflict, "the Sim became %s before its settings could be brought", one.Status)
	}
	return s.DB.Write(context.WithoutCancel(ctx), func(tx *db.Tx) error {
		refusal, refused := fault.As(told)
		switch {
		case told == nil:
			return s.endSettings(ctx, tx, u, one.Account, SettingsSuccessful, "")
		case refused:
			return s.endSettings(ctx, tx, u, one.Account, SettingsFailed, refusal.Message)
		case s.now().Sub(u.CreatedAt) > settingsPatience:
			return s.endSettings(ctx, tx, u, one.Account, SettingsFailed, "the Sim could not be reached for "+settingsPatience.String())
		}
		return s.putOff(ctx, tx, u)
	})
}

// putOff has settings brought later.
func (s *Store) putOff(ctx context.Context, tx *db.Tx, u SettingsUpdate) error {
	_, err := tx.ExecContext(ctx, `update settings_update set status = 'scheduled', lease = $1 where sid = $2 and status = 'in-progress'`,
		s.now().Add(syncWait).UnixMicro(), u.SID)
	return err
}

func (s *Store) endSettings(ctx context.Context, tx *db.Tx, u SettingsUpdate, account string, to SettingsStatus, reason string) error {
	now := s.now()
	completed := int64(0)
	if to == SettingsSuccessful {
		completed = now.UnixMicro()
	}
	done, err := tx.ExecContext(ctx, `update settings_update set status = $1, reason = $2, completed_at = $3, updated_at = $4, lease = 0
		where sid = $5 and status = 'in-progress'`, string(to), reason, completed, now.UnixMicro(), u.SID)
	if err != nil {
		return fmt.Errorf("end settings %s: %w", u.SID, err)
	}
	if n, err := done.RowsAffected(); err != nil || n == 0 {
		return err // ended by another run
	}
	return s.record(ctx, tx, event.Event{
		Kind: "sim.settings_" + string(to), Subject: u.SIM, Account: account,
		Data: map[string]any{"settings_update": u.SID, "package": u.Package, "version": u.Version, "reason": reason},
	})
}
