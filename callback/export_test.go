package callback

import "time"

// Unasked has the sender look for what is due only when it is woken.
func (s *Sender) Unasked() { s.poll = time.Hour }
