package jobs

import "time"

// Unasked has workers look for jobs only when they are woken.
func (q *Queue) Unasked() { q.poll = time.Hour }
