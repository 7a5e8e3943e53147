package callback

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// A target is a callback URL, read: where to send, and under which limits.
type target struct {
	url      url.URL // without fragment and credentials, as it is requested and signed
	given    string  // the same as the customer wrote it, an empty path left empty
	user     *url.Userinfo
	endpoint string // scheme, host and port: what is slow or down together
	limits   limits
}

// Limits of one delivery. The hosted service's own values; a receiver may set
// others in the fragment of its URL: https://host/path#ct=2000&rc=3.
type limits struct {
	connect time.Duration // ct, milliseconds: name resolution, TCP and TLS
	read    time.Duration // rt: from the request's end to the answer's beginning
	total   time.Duration // tt
	retries int           // rc; -1 where the URL says nothing
}

var defaultLimits = limits{connect: 5 * time.Second, read: 15 * time.Second, total: 15 * time.Second, retries: -1}

func parseTarget(raw string) (target, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return target{}, fmt.Errorf("callback URL: %w", err)
	}
	if err := CheckURL("callback URL", raw); err != nil {
		return target{}, err
	}
	t := target{url: *u, user: u.User, limits: parseLimits(u.Fragment)}
	t.url.Fragment, t.url.RawFragment, t.url.User = "", "", nil
	t.url.RawQuery = escapeQuery(u.RawQuery)
	t.given = t.url.String()
	if t.url.Path == "" {
		t.url.Path = "/" // what is requested then, so what the receiver checks
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	t.endpoint = u.Scheme + "://" + net.JoinHostPort(u.Hostname(), port)
	return t, nil
}

// escapeQuery escapes what may not stand in a request line, and what receivers'
// URL parsers would escape before they check the signature (the query percent-encode
// set of the URL standard). The rest stays as the customer wrote it.
func escapeQuery(q string) string {
	var b strings.Builder
	for _, c := range []byte(q) {
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"'<>`, c) >= 0 {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// parseLimits reads the overrides. What is unknown there or out of range is
// ignored: a delivery under the usual limits is better than none.
func parseLimits(fragment string) limits {
	l := defaultLimits
	values, err := url.ParseQuery(fragment)
	if err != nil {
		return l
	}
	number := func(name string, low, high int, set func(int)) {
		if n, err := strconv.Atoi(values.Get(name)); err == nil && n >= low && n <= high {
			set(n)
		}
	}
	number("ct", 100, 10_000, func(ms int) { l.connect = time.Duration(ms) * time.Millisecond })
	number("rt", 100, 15_000, func(ms int) { l.read = time.Duration(ms) * time.Millisecond })
	number("tt", 100, 15_000, func(ms int) { l.total = time.Duration(ms) * time.Millisecond })
	number("rc", 0, 5, func(n int) { l.retries = n })
	return l
}

// waits are the pauses between attempts where the URL does not say how many to
// make: three days in all, so a receiver that is down for a weekend misses nothing.
var waits = []time.Duration{
	2 * time.Second, 10 * time.Second, time.Minute, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 4 * time.Hour, 6 * time.Hour,
	12 * time.Hour, 12 * time.Hour, 12 * time.Hour, 12 * time.Hour, 12 * time.Hour,
}

// fast is the pause before the one repetition that the hosted services make when
// no connection came about, and before each of those that a URL asks for.
const fast = 200 * time.Millisecond

// attempts says how often a delivery is tried.
func (t target) attempts() int {
	if t.limits.retries >= 0 {
		return 1 + t.limits.retries
	}
	return 1 + len(waits)
}

// wait returns the pause after the attempt'th attempt, a fifth more or less, so
// that deliveries which failed together do not come back together.
func wait(attempt int) time.Duration {
	w := waits[min(max(attempt, 1), len(waits))-1]
	return w - w/5 + rand.N(2*w/5)
}
