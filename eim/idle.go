package eim

import (
	"hash/maphash"
	"math"
	"sync"
	"sync/atomic"

	"godwit/ident"
)

// idle remembers for which eUICCs there was nothing to do, so that most polls
// need not read what there is. What other nodes change is learned by
// [Server.catchUp].
//
// Who reads and then remembers takes the generation of the shard before, and
// a change raises it after it was committed; what was read before the change is
// then not remembered any more.
type idle struct {
	shards [idleShards]idleShard
}

const (
	idleShards = 256
	// idleMost bounds a shard: four million eUICCs in all. One that is full is
	// emptied, which costs one read for each of its eUICCs.
	idleMost = 16384
)

type idleShard struct {
	mu         sync.RWMutex
	generation uint64
	until      map[ident.EID]int64
}

var idleSeed = maphash.MakeSeed()

func (i *idle) shard(eid ident.EID) *idleShard {
	return &i.shards[maphash.String(idleSeed, string(eid))%idleShards]
}

// has reports whether there is nothing to do for an eUICC at a time.
func (i *idle) has(eid ident.EID, now int64) bool {
	s := i.shard(eid)
	s.mu.RLock()
	until := s.until[eid]
	s.mu.RUnlock()
	return now < until
}

// look returns the generation to give to put.
func (i *idle) look(eid ident.EID) uint64 {
	s := i.shard(eid)
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.generation
}

// put remembers that there is nothing to do before a time.
func (i *idle) put(eid ident.EID, until int64, generation uint64) {
	s := i.shard(eid)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.generation != generation {
		return
	}
	if s.until == nil || len(s.until) >= idleMost {
		s.until = map[ident.EID]int64{}
	}
	s.until[eid] = until
}

// drop forgets an eUICC: something has changed.
func (i *idle) drop(eid ident.EID) {
	s := i.shard(eid)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.generation++
	delete(s.until, eid)
}

// dropAll forgets all: something may have changed.
func (i *idle) dropAll() {
	for n := range i.shards {
		s := &i.shards[n]
		s.mu.Lock()
		s.generation++
		s.until = nil
		s.mu.Unlock()
	}
}

// seen gathers who has polled, until the batch is written.
type seen struct {
	mu   sync.Mutex
	list map[ident.EID]sighting
}

type sighting struct {
	at      int64
	address string
}

func (s *seen) note(eid ident.EID, at int64, address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.list == nil {
		s.list = map[ident.EID]sighting{}
	}
	s.list[eid] = sighting{at, address}
}

func (s *seen) take() map[ident.EID]sighting {
	s.mu.Lock()
	defer s.mu.Unlock()
	taken := s.list
	s.list = nil
	return taken
}

// giveBack returns what could not be written, where nothing newer has come.
func (s *seen) giveBack(list map[ident.EID]sighting) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.list == nil {
		s.list = map[ident.EID]sighting{}
	}
	for eid, old := range list {
		if _, newer := s.list[eid]; !newer {
			s.list[eid] = old
		}
	}
}

// order hands out numbers that grow: the time in microseconds, and one more
// where that was used.
type order struct{ last atomic.Int64 }

func (o *order) after(now int64) int64 {
	for {
		last := o.last.Load()
		next := max(now, last+1)
		if o.last.CompareAndSwap(last, next) {
			return next
		}
	}
}

// never is later than any time.
const never = math.MaxInt64
