package device

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"godwit/db"
	"godwit/event"
	"godwit/fault"
	"godwit/ident"
	"godwit/jobs"
	"godwit/query"
)

const selectRule = `select id, account_sid, cause, name, enabled, on_first, on_lost, group_path, type, operation, carrier, scanned, scan_at, created_by,
	created_at, updated_at from esim_rule u`

func scanRule(r db.Row, more ...any) (u Rule, err error) {
	var at, created, updated int64
	err = r.Scan(append([]any{
		&u.ID, &u.Account, &u.Cause, &u.Name, &u.Enabled, &u.OnFirst, &u.OnLost, &u.Group, &u.Type, &u.Work, &u.Carrier, &u.scanned, &at, &u.CreatedBy,
		&created, &updated,
	}, more...)...)
	u.scanAt, u.CreatedAt, u.UpdatedAt = moment(at), moment(created), later(moment(updated), moment(created))
	return u, err
}

// Rule returns a rule of an account.
func (s *Store) Rule(ctx context.Context, account, id string) (Rule, error) {
	return ruleTable.get(ctx, s.DB, account, id)
}

// AddRule stores a new rule.
func (s *Store) AddRule(ctx context.Context, by By, u Rule) (Rule, error) {
	u.Group = strings.Trim(u.Group, "/")
	if err := u.check(); err != nil {
		return u, err
	}
	given := u
	given.ID = ""
	err := s.DB.Write(ctx, func(tx *db.Tx) error {
		u = given
		return s.storeRule(ctx, tx, by, &u, Rule{})
	})
	return u, err
}

// ChangeRule changes a rule as change does, which may be called twice. A scan begins
// anew.
func (s *Store) ChangeRule(ctx context.Context, by By, id string, change func(*Rule)) (u Rule, err error) {
	err = s.DB.Write(ctx, func(tx *db.Tx) error {
		was, err := ruleTable.find(ctx, tx, by.Account, id, tx.ForUpdate())
		if err != nil {
			return err
		}
		u = was
		change(&u)
		u.Group = strings.Trim(u.Group, "/")
		if err := u.check(); err != nil {
			return err
		}
		if was.Cause != u.Cause {
			return fault.Field("cause", "cannot be changed")
		}
		return s.storeRule(ctx, tx, by, &u, was)
	})
	return u, err
}

func (u *Rule) check() error {
	switch {
	case u.Cause != CauseAutomation && u.Cause != CauseTemplate:
		return fault.Field("cause", "must be automation or template")
	case u.Cause == CauseAutomation && !u.OnFirst && !u.OnLost:
		return fault.Field("on_first", "an automation needs an occasion: on_first, on_lost or both")
	case u.Cause == CauseTemplate && (u.OnFirst || u.OnLost):
		return fault.Field("on_first", "a template has no occasions: it looks at all devices of its group")
	case !slices.Contains(Works, u.Work):
		return fault.Field("operation", "must be activate, download or enable")
	case u.Cause == CauseTemplate && u.Work == WorkDownload:
		return fault.Field("operation", "a template demands an active profile: activate or enable")
	case MatchingKey(u.Carrier) == "":
		return fault.Field("carrier", "must have letters or digits")
	}
	for field, text := range map[string]string{"carrier": u.Carrier, "name": u.Name, "group": u.Group, "type": u.Type} {
		if err := checkText(field, text, maxText); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) storeRule(ctx context.Context, tx *db.Tx, by By, u *Rule, was Rule) error {
	if u.Enabled && u.Cause == CauseTemplate {
		var other string
		err := tx.QueryRowContext(ctx, `select name from esim_rule where account_sid = $1 and group_folded = $2 and type_folded = $3 and enabled and cause = 'template' and id <> $4`,
			by.Account, query.Fold(u.Group), query.Fold(u.Type), u.ID).Scan(&other)
		if err == nil {
			return fault.New(fault.Conflict, "the template %q is enabled for this group and type: one at a time may be", other)
		}
		if !db.None(err) {
			return fmt.Errorf("look for templates: %w", err)
		}
	}
	now := s.now()
	u.Account, u.UpdatedAt = by.Account, later(now, was.UpdatedAt)
	kind := "esim_rule.updated"
	create := u.ID == ""
	args := []any{
		u.ID, string(u.Cause), u.Name, query.Fold(u.Name), u.Enabled, u.OnFirst, u.OnLost, u.Group, query.Fold(u.Group), u.Type, query.Fold(u.Type),
		string(u.Work), u.Carrier, now.UnixMicro(), u.UpdatedAt.UnixMicro(),
	}
	if create {
		kind = "esim_rule.created"
		u.ID, u.CreatedBy = newUUID(), by.User
		args[0] = u.ID
		created, err := s.insert(ctx, tx, "rule", `insert into esim_rule (id, cause, name, name_folded, enabled, on_first, on_lost, group_path, group_folded, type,
			type_folded, operation, carrier, scan_at, updated_at, account_sid, created_by, scanned, created_at)
			values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, 0, $18) on conflict do nothing`, append(args, u.Account, u.CreatedBy)...)
		if err != nil {
			return err
		}
		u.CreatedAt = moment(created)
		u.UpdatedAt = later(u.UpdatedAt, u.CreatedAt)
	} else {
		u.CreatedAt, u.CreatedBy = was.CreatedAt, was.CreatedBy
		if _, err := exec(ctx, tx, "store rule", `update esim_rule set cause = $2, name = $3, name_folded = $4, enabled = $5, on_first = $6, on_lost = $7, group_path = $8,
			group_folded = $9, type = $10, type_folded = $11, operation = $12, carrier = $13, scan_at = $14, updated_at = $15, scanned = 0 where id = $1`, args...); err != nil {
			return err
		}
	}
	return s.record(ctx, tx, event.Event{Kind: kind, Subject: u.ID, Account: u.Account, Data: by.data(map[string]any{
		"cause": u.Cause, "name": u.Name, "enabled": u.Enabled, "operation": u.Work, "carrier": u.Carrier, "group": u.Group, "type": u.Type,
	})})
}

// DeleteRule removes a rule. Operations that it began go on.
func (s *Store) DeleteRule(ctx context.Context, by By, id string) error {
	return s.DB.Write(ctx, func(tx *db.Tx) error {
		u, err := ruleTable.find(ctx, tx, by.Account, id, tx.ForUpdate())
		if err != nil {
			return err
		}
		if _, err := exec(ctx, tx, "delete rule", `delete from esim_rule where id = $1`, u.ID); err != nil {
			return err
		}
		return s.record(ctx, tx, event.Event{Kind: "esim_rule.deleted", Subject: u.ID, Account: u.Account, Data: by.data(nil)})
	})
}

// Occasions on which rules look at an eSIM.
const (
	triggerFirst  = "first"  // it has reported for the first time
	triggerLost   = "lost"   // a profile is gone
	triggerPlaced = "placed" // its device came into a group
)

// ruleArgs is the job that has an account's rules look at an eSIM.
type ruleArgs struct {
	Account string    `json:"account"`
	EID     ident.EID `json:"eid"`
	Trigger string    `json:"trigger"`
	Lost    []string  `json:"lost,omitempty"` // matching keys of the profiles that are gone
	At      int64     `json:"at"`
}

// Kind names the job.
func (ruleArgs) Kind() string { return "device.rules" }

// trigger has rules look at an eSIM after this transaction.
func (s *Store) trigger(ctx context.Context, tx *db.Tx, account string, eid ident.EID, what string, lost ...string) error {
	var id string
	err := tx.QueryRowContext(ctx, `select id from esim_rule where account_sid = $1 and enabled limit 1`, account).Scan(&id)
	if db.None(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for rules: %w", err)
	}
	return s.Jobs.Add(ctx, tx, ruleArgs{Account: account, EID: eid, Trigger: what, Lost: lost, At: s.now().UnixMicro()})
}

// triggerLost has rules look at an eSIM that lacks profiles which it had,
// unless they were deleted through this server.
func (s *Store) triggerLost(ctx context.Context, tx *db.Tx, e ESIM, gone []Profile) error {
	var lost []string
	for _, p := range gone {
		var id string
		err := tx.QueryRowContext(ctx, `select tx from esim_transaction where account_sid = $1 and eid = $2 and action = 'delete' and iccid = $3 and status <> 'failed' and created_at > $4 limit 1`,
			e.Account, string(e.EID), string(p.ICCID), micros(p.CreatedAt)).Scan(&id)
		if err == nil {
			continue
		}
		if !db.None(err) {
			return fmt.Errorf("look for the deletion of %s: %w", p.ICCID, err)
		}
		for _, key := range []string{MatchingKey(p.Carrier), MatchingKey(p.CodeCarrier)} {
			if key != "" && !slices.Contains(lost, key) {
				lost = append(lost, key)
			}
		}
	}
	if len(lost) == 0 {
		return nil
	}
	return s.trigger(ctx, tx, e.Account, e.EID, triggerLost, lost...)
}

// applyRules has each rule of an account look at an eSIM. It may run again: a
// rule that has begun an operation there since the occasion does not begin
// another. While something else runs on the eSIM it fails, to come again.
func (s *Store) applyRules(ctx context.Context, a ruleArgs) error {
	var rules []Rule
	err := s.DB.Read(ctx, func(q db.Query) (err error) {
		rules, err = ruleTable.all(ctx, q, `where account_sid = $1 and enabled order by created_at`, a.Account)
		return err
	})
	if err != nil {
		return fmt.Errorf("read rules of %s: %w", a.Account, err)
	}
	var busy error
	for _, u := range rules {
		err := s.DB.Write(ctx, func(tx *db.Tx) error { return s.applyRule(ctx, tx, u.ID, a.EID, a.Trigger, a.Lost, db.Time(a.At)) })
		switch {
		case fault.Is(err, fault.NotFound): // the device is gone
		case fault.Is(err, fault.Conflict):
			busy = errors.Join(busy, err)
		case err != nil:
			return fmt.Errorf("apply rule %s to %s: %w", u.ID, a.EID, err)
		}
	}
	return busy
}

// applyRule begins a rule's operation on an eSIM if the rule asks for it, as it is
// now: a job goes over many eSIMs, and meanwhile the rule may have been changed.
func (s *Store) applyRule(ctx context.Context, tx *db.Tx, id string, eid ident.EID, trigger string, lost []string, at time.Time) error {
	u, err := ruleTable.read(ctx, tx, id, "")
	if db.None(err) || err == nil && !u.Enabled {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read rule %s: %w", id, err)
	}
	e, err := esimTable.read(ctx, tx, string(eid), tx.ForUpdate())
	if db.None(err) || err == nil && e.Account != u.Account {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read eSIM %s: %w", eid, err)
	}
	d, err := deviceTable.read(ctx, tx, string(e.Device), "")
	if err != nil {
		return fmt.Errorf("read device %s: %w", e.Device, err)
	}
	if !u.covers(d) {
		return nil
	}
	keys, err := matchingKeys(ctx, tx, u.Account, u.Carrier)
	if err != nil {
		return err
	}
	if u.Cause == CauseAutomation {
		fits := trigger == triggerFirst && u.OnFirst ||
			trigger == triggerLost && u.OnLost && slices.ContainsFunc(keys, func(k string) bool { return slices.Contains(lost, k) })
		if !fits {
			return nil
		}
	} else {
		at = s.now().Add(-s.limits().RuleRetry)
	}
	p, err := s.profileOfCarrier(ctx, tx, eid, keys)
	if err != nil && !db.None(err) {
		return err
	}
	if err == nil && (p.Active || u.Work == WorkDownload) {
		return nil // it is as it should be
	}
	var begun string
	err = tx.QueryRowContext(ctx, `select id from esim_operation where account_sid = $1 and cause_id = $2 and cause_id <> '' and eid = $3 and created_at >= $4 limit 1`,
		u.Account, u.ID, string(eid), at.UnixMicro()).Scan(&begun)
	if err == nil {
		return nil
	}
	if !db.None(err) {
		return fmt.Errorf("look for operations of rule %s: %w", u.ID, err)
	}
	source := map[Cause]string{CauseAutomation: "v1/automations", CauseTemplate: "v1/configs"}[u.Cause]
	_, err = s.begin(ctx, tx, By{Account: u.Account, User: u.CreatedBy, Source: source}, Order{
		Work: u.Work, Device: d.ID, EID: eid, Carrier: u.Carrier, cause: u.Cause, causeID: u.ID,
	})
	return err
}

// covers reports whether a device is of the rule's group and type.
func (u *Rule) covers(d Device) bool {
	group, of := query.Fold(d.Group), query.Fold(u.Group)
	return (of == "" || group == of || strings.HasPrefix(group, of+"/")) && (u.Type == "" || query.Fold(u.Type) == query.Fold(d.Type))
}

const (
	scanEvery = time.Hour
	scanChunk = 500
	scanTurns = 20 // chunks of one template in one run; the next one goes on
)

// scanTemplates looks at the eSIMs that templates are about and begins what they
// lack. It may run again, and beside another: an eSIM has one operation at a
// time, and a template tries once in its time.
func (s *Store) scanTemplates(ctx context.Context) error {
	var due []Rule
	err := s.DB.Read(ctx, func(q db.Query) (err error) {
		due, err = ruleTable.all(ctx, q, `where enabled and cause = 'template' and scan_at <= $1`, s.now().UnixMicro())
		return err
	})
	if err != nil {
		return fmt.Errorf("read templates: %w", err)
	}
	var failed error
	for _, u := range due {
		for range scanTurns {
			more, err := s.scanSome(ctx, &u)
			if err != nil {
				failed = errors.Join(failed, fmt.Errorf("scan for template %s: %w", u.ID, err))
			}
			if err != nil || !more {
				break
			}
		}
	}
	return failed
}

func (s *Store) scanSome(ctx context.Context, u *Rule) (more bool, err error) {
	type place struct {
		eid ident.EID
		at  int64
	}
	var list []place
	err = s.DB.Read(ctx, func(q db.Query) error {
		keys, err := matchingKeys(ctx, q, u.Account, u.Carrier)
		if err != nil {
			return err
		}
		group := query.Fold(u.Group)
		in, args := placeholders(7, keys)
		list, err = db.All(ctx, q, func(r db.Row) (p place, err error) {
			err = r.Scan(&p.eid, &p.at)
			return p, err
		},
			`select e.eid, e.created_at from esim e join device d on d.device_id = e.device_id
			where e.account_sid = $1 and e.created_at > $2 and e.reported_at > 0
			and ($3 = '' or d.group_folded = $3 or d.group_folded >= $4 and d.group_folded < $5) and ($6 = '' or d.type_folded = $6)
			and not exists (select 1 from device_profile p where p.eid = e.eid and p.status = 'active' and (p.carrier_key in (`+in+`) or p.code_key in (`+in+`)))
			order by e.created_at limit `+fmt.Sprint(scanChunk),
			append([]any{u.Account, u.scanned, group, group + "/", group + "0", query.Fold(u.Type)}, args...)...)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("look for eSIMs: %w", err)
	}
	for _, p := range list {
		err := s.DB.Write(ctx, func(tx *db.Tx) error { return s.applyRule(ctx, tx, u.ID, p.eid, "", nil, time.Time{}) })
		if _, refused := fault.As(err); err != nil && !refused {
			return false, err
		}
		u.scanned = p.at
	}
	ours := false
	err = s.DB.Write(ctx, func(tx *db.Tx) error {
		more = len(list) == scanChunk
		scanned, at := u.scanned, u.scanAt
		if !more {
			scanned, at = 0, s.now().Add(scanEvery)
		}
		// A change of the rule has set the time of its scan anew.
		n, err := exec(ctx, tx, "store scan", `update esim_rule set scanned = $2, scan_at = $3 where id = $1 and scan_at = $4`, u.ID, scanned, at.UnixMicro(), u.scanAt.UnixMicro())
		ours = n > 0
		return err
	})
	return more && ours, err
}

// rulePatience is how often an occasion is tried while the eSIM is busy: every
// quarter of an hour at last, for some days.
const rulePatience = 300

func (s *Store) registerRules() {
	jobs.Register(s.Jobs, func(ctx context.Context, j jobs.Job[ruleArgs]) error { return s.applyRules(ctx, j.Args) }, jobs.Attempts(rulePatience), jobs.Lane("device", 8))
	jobs.Register(s.Jobs, func(ctx context.Context, _ jobs.Job[scanArgs]) error { return s.scanTemplates(ctx) }, jobs.Attempts(1), jobs.Timeout(20*time.Minute))
	s.Jobs.Every("device.scan", time.Minute, scanArgs{})
}

// scanArgs is the job that scans for templates.
type scanArgs struct{}

// Kind names the job.
func (scanArgs) Kind() string { return "device.scan" }
