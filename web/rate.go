package web

import (
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"godwit/fault"
)

// Rates bounds how fast each account may ask, over all doors that share it. The
// zero value of PerSecond means no bound.
type Rates struct {
	PerSecond float64
	Burst     int              // at once after a pause; PerSecond if zero
	Now       func() time.Time // time.Now if nil

	mu    sync.Mutex
	known map[string]*rate.Limiter
}

// maxRates bounds the memory. Only accounts get in, no strangers.
const maxRates = 100_000

// take takes one request of an account, or refuses it and says in Retry-After
// when to come back.
func (l *Rates) take(w http.ResponseWriter, account string) error {
	if l == nil || l.PerSecond <= 0 || account == "" {
		return nil
	}
	now := time.Now()
	if l.Now != nil {
		now = l.Now()
	}
	l.mu.Lock()
	limiter, ok := l.known[account]
	if !ok {
		if l.known == nil || len(l.known) >= maxRates {
			l.known = map[string]*rate.Limiter{}
		}
		burst := l.Burst
		if burst == 0 {
			burst = max(1, int(math.Ceil(l.PerSecond)))
		}
		limiter = rate.NewLimiter(rate.Limit(l.PerSecond), burst)
		l.known[account] = limiter
	}
	l.mu.Unlock()
	if limiter.AllowN(now, 1) {
		return nil
	}
	r := limiter.ReserveN(now, 1)
	wait := r.DelayFrom(now)
	r.CancelAt(now)
	w.Header().Set("Retry-After", strconv.Itoa(max(1, int(math.Ceil(wait.Seconds())))))
	return fault.New(fault.TooMany, "Too many requests: this account may make %g in a second; repeat this one after the time in Retry-After", l.PerSecond)
}
