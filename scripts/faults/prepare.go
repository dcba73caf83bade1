package main

import (
	"cmp"
	"slices"
	"time"
)

// prepare returns the informative calls of a session and the crashes, in the order of their ends.
func (h *history) prepare(s *session) []*call {
	all := s.calls
	if s.user != nil {
		all = slices.Concat(s.calls, s.user.callsOn(s, h))
	}
	var calls []*call
	for _, c := range all {
		if c.verb.reads() && c.outcome == unsure {
			continue
		}
		c.from = c.start
		if c.verb == lookup && c.outcome == done {
			c.from = max(c.start-int64(c.staleness()), lastOwnWrite(all, c)+1)
		}
		c.lossy = 0
		for i, w := range h.crashes {
			if w.mayLose(c) {
				c.lossy |= 1 << i
			}
		}
		calls = append(calls, c)
	}
	if len(calls) == 0 {
		return nil
	}
	calls = dropImplied(h.thin(calls))
	for i, w := range h.crashes {
		calls = append(calls, &call{verb: crash, start: w.start, from: w.start, end: w.end, crash: i})
	}
	slices.SortStableFunc(calls, func(a, b *call) int { return cmp.Compare(a.end, b.end) })
	return calls
}

// staleness returns how old the answer of a lookup may be at its begin, if another Store wrote the session.
func (c *call) staleness() time.Duration {
	if c.recalled {
		return maxStaleness
	}
	return readStaleness
}

// lastOwnWrite returns the time at which the lookup's Store last acknowledged a write of the session before
// the lookup, or -1. That Store reads this write or a later one.
func lastOwnWrite(calls []*call, read *call) int64 {
	latest := int64(-1)
	for _, c := range calls {
		known := c.verb.writes() && c.outcome == done && !c.unseen
		if known && c.store == read.store && c.end < read.start {
			latest = max(latest, c.end)
		}
	}
	return latest
}

// dropImplied drops each lookup whose answer another lookup with less freedom repeats.
func dropImplied(calls []*call) []*call {
	same := func(a, b *call) bool {
		return a.secret == b.secret && a.outcome == b.outcome &&
			a.version == b.version && a.payload == b.payload
	}
	var kept []*call
	for i, a := range calls {
		implied := false
		for j, b := range calls {
			if a.verb != lookup || b.verb != lookup || i == j || !same(a, b) {
				continue
			}
			if b.from >= a.from && b.start >= a.start && b.end <= a.end {
				implied = true
				break
			}
		}
		if !implied {
			kept = append(kept, a)
		}
	}
	return kept
}

// thin keeps the first and the last of a Store's lookups with the same secret and answer, of those from
// memory and of the others, because these have more freedom. A value is current
// without interruption, because no two writes have the same payload, so these two imply the ones between
// them. thin keeps every lookup close to a crash, because a crash may bring a value back.
func (h *history) thin(calls []*call) []*call {
	type key struct {
		store, secret, crashes int
		payload                string
		version                int32
		recalled               bool
	}
	first, last := map[key]*call{}, map[key]*call{}
	var kept []*call
	for _, c := range calls {
		crashes, between := h.crashesBefore(c)
		if c.verb != lookup || c.outcome != done || between {
			kept = append(kept, c)
			continue
		}
		k := key{c.store, c.secret, crashes, c.payload, c.version, c.recalled}
		if f := first[k]; f == nil || c.end < f.end {
			first[k] = c
		}
		if l := last[k]; l == nil || c.start > l.start {
			last[k] = c
		}
	}
	for k, f := range first {
		kept = append(kept, f)
		if last[k] != f {
			kept = append(kept, last[k])
		}
	}
	return kept
}

// crashesBefore counts the crashes before the time span of a lookup's value. between reports a crash within
// it.
func (h *history) crashesBefore(c *call) (crashes int, between bool) {
	for _, w := range h.crashes {
		switch {
		case w.end < c.from:
			crashes++
		case w.start <= c.end:
			return crashes, true
		}
	}
	return crashes, false
}
