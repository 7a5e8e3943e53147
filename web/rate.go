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

// maxRates bounds the memory.
const maxRates = 100_000

// take takes one request of an account, or refuses it and says in Retry-After
// when to come back.
func (l *Rates) take(w http.ResponseWriter, account string) error {
	if l == nil || l.PerSecond <= 0 || account == "" {
		return nil
	}
	limiter, now := l.of(account)
	if limiter.AllowN(now, 1) {
		return nil
	}
	w.Header().Set("Retry-After", strconv.Itoa(seconds(limiter, now)))
	return fault.New(fault.TooMany, "Too many requests: this account may make %g in a second; repeat this one after the time in Retry-After", l.PerSecond)
}

// Spend counts one against a key, for doors that bound other things than the
// requests of an account.
func (l *Rates) Spend(key string) {
	limiter, now := l.of(key)
	limiter.AllowN(now, 1)
}

// Wait returns for how many seconds a key has nothing left; 0 is not at all.
func (l *Rates) Wait(key string) int {
	limiter, now := l.of(key)
	if limiter.TokensAt(now) >= 1 {
		return 0
	}
	return seconds(limiter, now)
}

// of returns the limiter of a key, and the time.
func (l *Rates) of(key string) (*rate.Limiter, time.Time) {
	now := time.Now()
	if l.Now != nil {
		now = l.Now()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	limiter, ok := l.known[key]
	if !ok {
		if l.known == nil || len(l.known) >= maxRates {
			l.known = map[string]*rate.Limiter{}
		}
		burst := l.Burst
		if burst == 0 {
			burst = max(1, int(math.Ceil(l.PerSecond)))
		}
		limiter = rate.NewLimiter(rate.Limit(l.PerSecond), burst)
		l.known[key] = limiter
	}
	return limiter, now
}

// seconds is how long it is until a limiter has one again.
func seconds(limiter *rate.Limiter, now time.Time) int {
	r := limiter.ReserveN(now, 1)
	wait := r.DelayFrom(now)
	r.CancelAt(now)
	return max(1, int(math.Ceil(wait.Seconds())))
}
