package jobs

import "time"

// Unasked has workers look for jobs only when they are woken.
func (q *Queue) Unasked() { q.poll = time.Hour }

// WatchClock has the queue look at the clock so often.
func (q *Queue) WatchClock(every time.Duration) { q.clock = every }
