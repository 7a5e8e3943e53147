package callback

import "sync"

// A line keeps count of the requests under way. No endpoint may take all the
// places: one that is full has its deliveries put apart, where they wait
// without being met by those behind them.
type line struct {
	total, each int

	mu        sync.Mutex
	underWay  int
	endpoints map[string]*endpoint
}

type endpoint struct {
	underWay int
	apart    bool // deliveries wait apart, perhaps
	slow     bool // its last answer took long, or did not come
}

func newLine(total, each int) *line {
	return &line{total: total, each: each, endpoints: map[string]*endpoint{}}
}

// at returns the record of an endpoint, which exists while it says anything.
func (l *line) at(name string) *endpoint {
	e, ok := l.endpoints[name]
	if !ok {
		e = &endpoint{}
		l.endpoints[name] = e
	}
	return e
}

func (l *line) tidy(name string) {
	if e := l.endpoints[name]; e != nil && *e == (endpoint{}) {
		delete(l.endpoints, name)
	}
}

// places is how many requests an endpoint may have under way. One that answers
// slowly keeps each place for long, so it gets few.
func (l *line) places(e *endpoint) int {
	if e.slow {
		return max(1, l.each/4)
	}
	return l.each
}

// room is how many requests may begin now.
func (l *line) room() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return max(0, l.total-l.underWay)
}

// roomAt is how many requests to an endpoint may begin now.
func (l *line) roomAt(name string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, ok := l.endpoints[name]
	if !ok {
		return l.each
	}
	return max(0, l.places(e)-e.underWay)
}

// apart returns the room at each endpoint whose deliveries wait apart.
func (l *line) apart() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	rooms := map[string]int{}
	for name, e := range l.endpoints {
		if e.apart {
			rooms[name] = max(0, l.places(e)-e.underWay)
		}
	}
	return rooms
}

// awaited reports whether a place that becomes free is waited for.
func (l *line) awaited(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, ok := l.endpoints[name]
	return ok && e.apart || l.underWay >= l.total-1
}

func (l *line) part(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.at(name).apart = true
}

func (l *line) join(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.at(name).apart = false
	l.tidy(name)
}

func (l *line) enter(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.underWay++
	l.at(name).underWay++
}

func (l *line) leave(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.underWay--
	l.at(name).underWay--
	l.tidy(name)
}

func (l *line) answered(name string, slow bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.at(name).slow = slow
	l.tidy(name)
}
