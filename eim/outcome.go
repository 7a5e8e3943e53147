package eim

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"godwit/db"
	"godwit/ident"
	"godwit/iot"
)

// Who vouches for evidence.
const (
	ByEUICC = "eUICC" // it signed
	ByAgent = "agent" // it signed on behalf of an eUICC that cannot
	ByIPA   = "IPA"   // nobody signed
)

// What evidence is.
const (
	evidencePackage      = "euicc-package-result"        // BF51
	evidenceData         = "ipa-euicc-data"              // BF52
	evidenceDownload     = "profile-download-result"     // BF54
	evidenceInstallation = "profile-installation-result" // BF37
	evidenceError        = "eim-package-result-error"    // A0
)

// What was done with evidence.
const (
	accepted = "accepted"
	late     = "late" // believed, but its task was over
	refused  = "refused"
)

// evidence is what came back.
type evidence struct {
	kind    string
	octets  []byte
	witness string
	// agentKey is the SubjectPublicKeyInfo that proved it, of an agent alone.
	agentKey []byte
}

func (v *evidence) digest() []byte {
	sum := sha256.Sum256(v.octets)
	return sum[:]
}

// mostRefused bounds what strangers can have stored for one EID: what is refused, and
// what nobody has signed and comes when no task waits for it.
const mostRefused = 50

// full reports whether strangers have had their part stored for an EID.
func full(ctx context.Context, q db.Query, eid ident.EID) (bool, error) {
	var n int
	if err := q.QueryRowContext(ctx, `select count(*) from eim_result where eid = $1 and (verdict = 'refused' or verdict = 'late' and witness = 'IPA')`,
		string(eid)).Scan(&n); err != nil {
		return false, fmt.Errorf("count refused results of %s: %w", eid, err)
	}
	return n >= mostRefused, nil
}

// maxMessage bounds what is said for people, in bytes. Much of it is a stranger's.
const maxMessage = 1000

// keep stores evidence with the verdict on it. What was refused before and is
// believed now is stored anew.
func (s *Server) keep(ctx context.Context, tx *db.Tx, eid ident.EID, taskID string, v *evidence, verdict, why string) error {
	countResult(v.kind, verdict)
	digest := v.digest()
	if verdict == refused {
		if is, err := full(ctx, tx, eid); err != nil || is {
			return err
		}
	}
	if _, err := tx.ExecContext(ctx, `insert into eim_result (id, eid, digest, task, kind, witness, verdict, why, evidence, received_at, agent_key)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
		on conflict (eid, digest) do update set task = excluded.task, verdict = excluded.verdict, why = excluded.why, witness = excluded.witness,
			agent_key = excluded.agent_key
		where eim_result.verdict = 'refused'`,
		s.newID(), string(eid), digest, taskID, v.kind, v.witness, verdict, db.Text(why, maxMessage), v.octets, s.now(), v.agentKey); err != nil {
		return fmt.Errorf("keep evidence of %s: %w", eid, err)
	}
	return nil
}

// rolledBack is the reason of an enabling that the device has undone. It may come
// after the task was reported as done: the eUICC's later word counts.
const rolledBack = "rolled_back"

// downloading is the reason of a download that is under way, once the SM-DP+ has
// offered the profile.
const downloading = "downloading"

// An ending is how a task ends.
type ending struct {
	code     int64
	reason   string
	message  string
	reached  bool        // of a download: see [Outcome]
	iccid    ident.ICCID // "" for the task's
	evidence *evidence
	results  []iot.OpResult
}

// finish ends a task, makes room for the next package and reports the outcome.
// A task that has ended before stays as it is.
func (s *Server) finish(ctx context.Context, tx *db.Tx, t *task, a action, o ending) error {
	if a == fail && t.own && t.kind == List && t.stage == Sent {
		// Somebody waits for what it would have told.
		return s.retry(ctx, tx, t, s.now()+s.listBackoff(t.attempt).Microseconds())
	}
	to := moves[a].To
	o.message = db.Text(o.message, maxMessage)
	ok, err := changed(tx.ExecContext(ctx, guarded(a, `reason = $3, message = $4, ended_at = $5`), string(to), t.id, o.reason, o.message, s.now()))
	if err != nil {
		return fmt.Errorf("end task %s: %w", t.id, err)
	}
	if !ok {
		return nil
	}
	if _, err := tx.ExecContext(ctx, `delete from eim_package where task = $1`, t.id); err != nil {
		return fmt.Errorf("end task %s: %w", t.id, err)
	}
	t.stage = to
	if err := s.changes(ctx, tx, t.eid); err != nil {
		return err
	}
	tx.AfterCommit(func() { countTask(t.kind, to) })
	return s.tell(ctx, tx, t, to, o)
}

// tell reports to whoever wanted a task how it stands: that the IPA has it, or how
// it has ended.
func (s *Server) tell(ctx context.Context, tx *db.Tx, t *task, to Stage, o ending) error {
	if t.own || s.cfg.Outcome == nil {
		return nil
	}
	out := Outcome{
		TaskID: t.id, EID: t.eid, Kind: t.kind, Stage: to, ICCID: t.iccid, Code: o.code, Reason: o.reason, Message: o.message, Reached: o.reached,
		Results: o.results, At: s.cfg.Now(),
	}
	if o.iccid != "" {
		out.ICCID = o.iccid
	}
	if v := o.evidence; v != nil {
		out.Evidence, out.EvidenceKind, out.Witness = v.octets, v.kind, v.witness
	}
	if err := s.cfg.Outcome(ctx, tx, out); err != nil {
		return fmt.Errorf("report outcome of task %s: %w", t.id, err)
	}
	return nil
}

// retry puts a task that the eUICC refused unread back into the queue.
func (s *Server) retry(ctx context.Context, tx *db.Tx, t *task, due int64) error {
	until := t.until
	if t.own {
		until = never
	}
	ok, err := changed(tx.ExecContext(ctx, guarded(again, `due_at = $3, until_at = $4`), string(Queued), t.id, due, until))
	if err != nil || !ok {
		return orElse(err, fmt.Errorf("task %s is not under way", t.id))
	}
	if _, err := tx.ExecContext(ctx, `delete from eim_package where task = $1`, t.id); err != nil {
		return fmt.Errorf("queue task %s again: %w", t.id, err)
	}
	t.stage = Queued
	return s.changes(ctx, tx, t.eid)
}

// listBackoff is how long the eIM rests before it asks for a list of profiles again,
// after so many that came to nothing: not at all after the first.
func (s *Server) listBackoff(attempts int64) time.Duration {
	if attempts < 2 {
		return 0
	}
	return min(listPause<<min(attempts-2, 20), s.cfg.Refresh)
}

func orElse(err, other error) error {
	if err != nil {
		return err
	}
	return other
}
