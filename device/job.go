package device

import (
	"context"
	"strconv"

	"godwit/db"
	"godwit/event"
)

// Types of jobs.
const (
	JobOperation = "esim_operation"
	JobRollout   = "esim_rollout"
)

const selectJob = `select job_id, account_sid, type, subject, status, description, created_by, created_at, updated_at from device_job j`

func scanJob(r db.Row, more ...any) (j Job, err error) {
	var created, updated int64
	err = r.Scan(append([]any{&j.ID, &j.Account, &j.Type, &j.Subject, &j.Status, &j.Description, &j.CreatedBy, &created, &updated}, more...)...)
	j.CreatedAt, j.UpdatedAt = moment(created), later(moment(updated), moment(created))
	return j, err
}

// addJob stores a job and returns its number: the moment at which it was
// submitted, in microseconds, which JSON numbers hold.
func (s *Store) addJob(ctx context.Context, tx *db.Tx, j Job) (int64, error) {
	id, err := s.insert(ctx, tx, "job", `insert into device_job (account_sid, type, subject, status, description, created_by, updated_at, job_id, created_at)
		values ($1, $2, $3, 'in_progress', $4, $5, $6, $7, $7) on conflict do nothing`,
		j.Account, j.Type, j.Subject, j.Description, j.CreatedBy, s.now().UnixMicro())
	if err != nil {
		return 0, err
	}
	return id, s.recordJob(ctx, tx, j.Account, id, JobInProgress)
}

func (s *Store) recordJob(ctx context.Context, tx *db.Tx, account string, id int64, to JobStatus) error {
	return s.record(ctx, tx, event.Event{Kind: "job." + string(to), Subject: strconv.FormatInt(id, 10), Account: account, Data: map[string]any{"to": to}})
}

func (s *Store) endJob(ctx context.Context, tx *db.Tx, account string, id int64, status JobStatus) error {
	n, err := exec(ctx, tx, "end job", `update device_job set status = $2, updated_at = $3 where job_id = $1 and status = 'in_progress'`, id, string(status), s.now().UnixMicro())
	if err != nil || n == 0 {
		return err
	}
	return s.recordJob(ctx, tx, account, id, status)
}

// Job returns a job of an account.
func (s *Store) Job(ctx context.Context, account string, id int64) (Job, error) {
	return jobTable.get(ctx, s.DB, account, id)
}

// CancelJob cancels the operation or rollout that a job is.
func (s *Store) CancelJob(ctx context.Context, by By, id int64) (Job, error) {
	j, err := s.Job(ctx, by.Account, id)
	if err != nil {
		return j, err
	}
	if j.Type == JobRollout {
		_, err = s.CancelRollout(ctx, by, j.Subject)
	} else {
		_, err = s.Cancel(ctx, by, j.Subject)
	}
	if err != nil {
		return j, err
	}
	return s.Job(ctx, by.Account, id)
}
