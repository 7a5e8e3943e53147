package jobs

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"time"

	"github.com/riverqueue/river"
)

// Run works jobs until ctx is over and then waits for those under way, at most
// for a while; what is cut off is repeated by the next process.
func (q *Queue) Run(ctx context.Context) error {
	q.mu.Lock()
	lanes := make(map[string]river.QueueConfig, len(q.lanes))
	for name, workers := range maps.All(q.lanes) {
		lanes[name] = river.QueueConfig{MaxWorkers: workers}
	}
	config := &river.Config{
		Logger:               logger(),
		Queues:               lanes,
		Workers:              q.workers,
		PeriodicJobs:         q.periodic,
		FetchCooldown:        time.Millisecond,
		FetchPollInterval:    time.Second,
		JobTimeout:           longestTimeout,
		RescueStuckJobsAfter: 2 * longestTimeout,
		SkipUnknownJobCheck:  true,
	}
	q.mu.Unlock()
	client, err := river.NewClient[*sql.Tx](q.driver, config)
	if err != nil {
		return fmt.Errorf("job queue: %w", err)
	}
	if err := client.Start(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("start job queue: %w", err)
	}
	<-ctx.Done()
	patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := client.Stop(patience); err == nil {
		return nil
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := client.StopAndCancel(last); err != nil {
		return fmt.Errorf("stop job queue: %w", err)
	}
	return nil
}
