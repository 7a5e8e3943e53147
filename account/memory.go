package account

import (
	"sync"
	"time"
)

// CacheTime is how long a node may go on accepting credentials that were
// withdrawn on another node, and go on signing with a token that was replaced
// there.
const CacheTime = 30 * time.Second

// cacheSize bounds each memory. Only right credentials get in, so strangers
// cannot fill it.
const cacheSize = 10_000

// A memory keeps what was read for [CacheTime], so that a busy caller costs no
// reading. The zero value is ready.
type memory[K comparable, V any] struct {
	mu      sync.Mutex
	changes uint64 // how often something was withdrawn
	known   map[K]remembered[V]
}

type remembered[V any] struct {
	value V
	until time.Time
}

// version is taken before reading: what was read before a withdrawal must not be
// remembered after it.
func (m *memory[K, V]) version() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.changes
}

// forget forgets everything: something was withdrawn.
func (m *memory[K, V]) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.changes++
	clear(m.known)
}

func (m *memory[K, V]) get(k K, now time.Time) (V, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.known[k]
	return r.value, ok && now.Before(r.until)
}

// put remembers what was read since version said seen.
func (m *memory[K, V]) put(seen uint64, k K, v V, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.changes != seen {
		return
	}
	if m.known == nil || len(m.known) >= cacheSize {
		m.known = make(map[K]remembered[V])
	}
	m.known[k] = remembered[V]{v, now.Add(CacheTime)}
}
