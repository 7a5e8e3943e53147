package event

import "time"

// Unasked has feeds look for news only when they are woken.
func (l *Log) Unasked() { l.poll = time.Hour }
