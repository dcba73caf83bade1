package main

import (
	"cmp"
	"slices"
)

// prepare returns the calls of a session that say anything, with the crashes, in the order of their ends.
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
			c.from = max(c.start-int64(maxReplicaLag), lastOwnWrite(all, c)+1)
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

// lastOwnWrite is when the Store of a lookup last acknowledged a write of the session before the lookup
// began, -1 for never. That Store reads this write or something later.
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

// dropImplied drops each lookup that another one with the same answer implies, because that one allows less.
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

// thin keeps the first and the last of the lookups through one Store that read the same thing by the same
// secret. A value is current without interruption, because no two writes have the same payload, so these two
// say all that those between them say. A crash may bring a value back, so thin keeps every lookup that may be
// of either side of one.
func (h *history) thin(calls []*call) []*call {
	type key struct {
		store, secret, crashes int
		payload                string
		version                int32
	}
	first, last := map[key]*call{}, map[key]*call{}
	var kept []*call
	for _, c := range calls {
		crashes, between := h.crashesBefore(c)
		if c.verb != lookup || c.outcome != done || between {
			kept = append(kept, c)
			continue
		}
		k := key{c.store, c.secret, crashes, c.payload, c.version}
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

// crashesBefore counts the crashes before the time that a lookup may be of. between says that one is within.
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
