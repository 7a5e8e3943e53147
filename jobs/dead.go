package jobs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"godwit/fault"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

// A Dead job is one that was given up: after its last attempt, or as hopeless.
type Dead struct {
	ID       int64
	Kind     string
	Args     []byte // JSON
	Attempts int
	Error    string // of the last attempt
	AddedAt  time.Time
	DiedAt   time.Time
}

// Dead returns the jobs that were given up within the last month, the one that
// was added last first. after is what the page before returned, empty for the first; next is
// empty on the last. Neither it nor [Queue.Revive] may be called inside Write.
func (q *Queue) Dead(ctx context.Context, after string, limit int) (list []Dead, next string, err error) {
	params := river.NewJobListParams().
		States(rivertype.JobStateDiscarded, rivertype.JobStateCancelled).
		OrderBy(river.JobListOrderByID, river.SortOrderDesc).
		First(limit)
	if after != "" {
		var cursor river.JobListCursor
		if err := cursor.UnmarshalText([]byte(after)); err != nil {
			return nil, "", fault.Field("after", "is not the mark of a page of dead jobs")
		}
		params = params.After(&cursor)
	}
	result, err := q.insert.JobList(ctx, params)
	if err != nil {
		return nil, "", fmt.Errorf("list dead jobs: %w", err)
	}
	for _, job := range result.Jobs {
		d := Dead{ID: job.ID, Kind: job.Kind, Args: job.EncodedArgs, Attempts: job.Attempt, AddedAt: job.CreatedAt}
		if job.FinalizedAt != nil {
			d.DiedAt = *job.FinalizedAt
		}
		if n := len(job.Errors); n > 0 {
			d.Error = job.Errors[n-1].Error
		}
		list = append(list, d)
	}
	if len(list) == limit && result.LastCursor != nil {
		mark, err := result.LastCursor.MarshalText()
		if err != nil {
			return nil, "", fmt.Errorf("list dead jobs: %w", err)
		}
		next = string(mark)
	}
	return list, next, nil
}

// Revive gives a dead job another attempt.
func (q *Queue) Revive(ctx context.Context, id int64) error {
	job, err := q.insert.JobRetry(ctx, id)
	if errors.Is(err, rivertype.ErrNotFound) {
		return fault.New(fault.NotFound, "job %d was not found", id)
	}
	if err != nil {
		return fmt.Errorf("revive job %d: %w", id, err)
	}
	q.driver.wake(job.Queue)
	return nil
}
