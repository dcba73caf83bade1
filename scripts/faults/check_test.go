package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// at returns a call that took ten milliseconds. Times are in milliseconds.
func at(ms int64, c call) *call {
	c.start, c.end = ms*1e6, (ms+10)*1e6
	return &c
}

func inserted(ms int64) *call { return at(ms, call{verb: insert, next: 1, payload: "s1.1"}) }

func updated(ms int64, payload string, version int32) *call {
	return at(ms, call{verb: update, secret: 1, payload: payload, expected: anyVersion, version: version})
}

func read(ms int64, store, secret int, payload string, version int32) *call {
	return at(ms, call{verb: lookup, store: store, secret: secret, payload: payload, version: version})
}

// recalled is a read from the memory of store 1.
func recalled(ms int64, secret int, payload string, version int32) *call {
	c := read(ms, 1, secret, payload, version)
	c.recalled = true
	return c
}

func missed(ms int64, secret int) *call {
	return at(ms, call{verb: lookup, secret: secret, outcome: noSession})
}

func renewedAt(ms int64, secret, next int) *call {
	return at(ms, call{verb: rotate, secret: secret, next: next})
}

func revoked(ms int64) *call { return at(ms, call{verb: revoke, secret: 1}) }

// refused is an update of version 1 that found another version.
func refused(ms int64) *call {
	return at(ms, call{verb: update, secret: 1, expected: 1, payload: "s1.3", outcome: conflict})
}

func doubt(c *call) *call {
	c.outcome = unsure
	return c
}

func TestTheModelAcceptsWhatAStoreMayDo(t *testing.T) {
	for name, h := range map[string]*history{
		"a life": one(
			inserted(0), read(20, 0, 1, "s1.1", 1), updated(40, "s1.2", 2), read(60, 0, 1, "s1.2", 2),
			revoked(80), missed(100, 1)),
		"a stale read of another Store": one(
			inserted(0), updated(100, "s1.2", 2), read(2900, 1, 1, "s1.1", 1)),
		"a stale read from memory": one(
			inserted(0), updated(100, "s1.2", 2), recalled(1105, 1, "s1.1", 1)),
		"a revoked session in memory": one(inserted(0), revoked(100), recalled(1105, 1, "s1.1", 1)),
		"a renewed session in memory": one(inserted(0), renewedAt(100, 1, 2), recalled(1105, 1, "s1.1", 1)),
		"the old secret within the grace": one(
			inserted(0), renewedAt(100, 1, 2), read(900, 0, 1, "s1.1", 1), read(920, 0, 2, "s1.1", 1),
			missed(1200, 1)),
		"a doubtful write that is seen late": one(
			inserted(0), doubt(updated(100, "s1.2", 0)), read(200, 0, 1, "s1.1", 1),
			read(9000, 0, 1, "s1.2", 2)),
		"a doubtful write that never happened": one(
			inserted(0), doubt(updated(100, "s1.2", 0)), updated(200, "s1.3", 2),
			read(9000, 0, 1, "s1.3", 2)),
		"a doubtful rotate ends the session": one(
			inserted(0), doubt(renewedAt(100, 1, 0)), read(200, 0, 1, "s1.1", 1), missed(1500, 1)),
		"a conflict": one(
			inserted(0), updated(100, "s1.2", 2), refused(200)),
		"an update that a crash lost": crashed(never, never,
			inserted(0), updated(500, "s1.2", 2), read(600, 0, 1, "s1.2", 2), read(1100, 0, 1, "s1.1", 1)),
		"an update that a crash did not lose": crashed(never, never,
			inserted(0), updated(500, "s1.2", 2), read(1100, 0, 1, "s1.2", 2)),
		"an insert that a crash lost": crashed(never, never, inserted(500), missed(1100, 1)),
		"a doubtful revoke that was seen and lost": crashed(never, 400e6,
			inserted(0), doubt(revoked(500)), missed(600, 1), read(5000, 0, 1, "s1.1", 1)),
		"a revoke that a failover lost": crashed(400e6, 400e6,
			inserted(0), revoked(500), missed(600, 1), read(1100, 0, 1, "s1.1", 1)),
	} {
		if found := h.check(); len(found) > 0 {
			t.Errorf("%s: %v", name, found[0].what)
		}
	}
}

func TestTheModelKnowsWhenSessionsExpire(t *testing.T) {
	// The slack makes the timeouts two and three seconds long.
	idle := func(c *call) *call { c.idle = 1500 * time.Millisecond; return c }
	limited := func(c *call) *call { c.lifetime = 2500 * time.Millisecond; return c }
	for name, test := range map[string]struct {
		h       *history
		accepts bool
	}{
		"it lives":                     {one(idle(inserted(0)), read(1980, 0, 1, "s1.1", 1)), true},
		"it ends":                      {one(idle(inserted(0)), missed(2011, 1)), true},
		"it ends early":                {one(idle(inserted(0)), missed(1980, 1)), false},
		"it outlives its idle timeout": {one(idle(inserted(0)), read(2013, 0, 1, "s1.1", 1)), false},
		"an update is a use": {
			one(idle(inserted(0)), updated(1000, "s1.2", 2), read(2980, 0, 1, "s1.2", 2)), true,
		},
		"an update is no use": {
			one(idle(inserted(0)), updated(1000, "s1.2", 2), missed(2980, 1)), false,
		},
		"an update keeps it for ever": {
			one(idle(inserted(0)), updated(1000, "s1.2", 2), read(3013, 0, 1, "s1.2", 2)), false,
		},
		"an update in doubt may be a use": {
			one(idle(inserted(0)), doubt(updated(1000, "s1.2", 0)), read(2500, 0, 1, "s1.2", 2)), true,
		},
		"an update in doubt may be none": {
			one(idle(inserted(0)), doubt(updated(1000, "s1.2", 0)), missed(2100, 1)), true,
		},
		"an update revives it": {one(idle(inserted(0)), updated(2100, "s1.2", 2)), false},
		"a rotate is a use": {
			one(idle(inserted(0)), renewedAt(1000, 1, 2), read(2900, 0, 2, "s1.1", 1)),
			true,
		},
		"a life ends":       {one(limited(inserted(0)), updated(2000, "s1.2", 2), missed(2511, 1)), true},
		"a life ends early": {one(limited(inserted(0)), missed(2400, 1)), false},
		"it outlives its deadline": {
			one(limited(inserted(0)), updated(2000, "s1.2", 2), read(2513, 0, 1, "s1.2", 2)), false,
		},
		"a late update outlives it": {one(limited(inserted(0)), updated(2513, "s1.2", 2)), false},
		"a replica is late and has it": {
			one(idle(inserted(0)), updated(1000, "s1.2", 2), read(1900, 1, 1, "s1.1", 1)), true,
		},
	} {
		if found := test.h.check(); (len(found) == 0) != test.accepts {
			t.Errorf("%s: %v", name, found)
		}
	}
}

func TestTheModelKnowsEntries(t *testing.T) {
	entry := func(calls ...*call) *history {
		for _, c := range calls {
			c.entry, c.version = true, 0
		}
		return one(calls...)
	}
	deleted := revoked
	set := func(ms int64, value string) *call { return updated(ms, value, 0) }
	get := func(ms int64, value string) *call { return read(ms, 0, 1, value, 0) }
	lost := func(after ...*call) *history {
		calls := append([]*call{inserted(500), missed(1050, 1)}, after...)
		for _, c := range calls {
			c.entry, c.version = true, 0
		}
		return crashed(never, never, calls...)
	}
	refused := set(60, "s1.2")
	refused.outcome = noSession
	for name, test := range map[string]struct {
		h       *history
		accepts bool
	}{
		"a life": {
			entry(inserted(0), set(20, "s1.2"), get(40, "s1.2"), deleted(60)), true,
		},
		"it is deleted twice":         {entry(inserted(0), deleted(20), deleted(40), missed(60, 1)), true},
		"a set after its end":         {entry(inserted(0), deleted(20), refused), true},
		"a set brings it back":        {entry(inserted(0), deleted(20), set(40, "s1.2")), false},
		"a get after its end":         {entry(inserted(0), deleted(20), get(4000, "s1.1")), false},
		"a set that was not done":     {entry(inserted(0), set(20, "s1.2"), get(40, "s1.1")), false},
		"a set refused before":        {entry(inserted(0), refused, deleted(80)), false},
		"a set after a crash lost it": {lost(set(1100, "s1.2"), get(1200, "s1.2")), true},
		"a crash brings it back":      {lost(get(1100, "s1.2")), false},
	} {
		if found := test.h.check(); (len(found) == 0) != test.accepts {
			t.Errorf("%s: %v", name, found)
		}
	}
}

func TestTheModelRefusesWhatAStoreMustNotDo(t *testing.T) {
	for name, h := range map[string]*history{
		"a live session is none": one(inserted(0), missed(20, 1)),
		"another's payload":      one(inserted(0), read(20, 1, 1, "s2.1", 1)),
		"an update that was not written": one(
			inserted(0), updated(20, "s1.2", 2), read(40, 0, 1, "s1.1", 1)),
		"a stale read beyond the bound": one(
			inserted(0), updated(100, "s1.2", 2), read(3200, 1, 1, "s1.1", 1)),
		"a stale read from memory beyond its bound": one(
			inserted(0), updated(100, "s1.2", 2), recalled(1120, 1, "s1.1", 1), read(1140, 1, 1, "s1.1", 1)),
		"a revoked session in memory beyond its bound": one(
			inserted(0), revoked(100), recalled(1120, 1, "s1.1", 1)),
		"a previous secret in memory": one(
			inserted(0), renewedAt(100, 1, 2), recalled(900, 1, "s1.1", 1), recalled(1120, 1, "s1.1", 1)),
		"a stale read of the writer": one(
			inserted(0), updated(100, "s1.2", 2), read(120, 0, 1, "s1.1", 1)),
		"a revoked session lives": one(
			inserted(0), revoked(20), read(40, 0, 1, "s1.1", 1)),
		"the grace does not end": one(
			inserted(0), renewedAt(100, 1, 2), read(1200, 0, 1, "s1.1", 1)),
		"the grace ends early": one(inserted(0), renewedAt(100, 1, 2), missed(900, 1)),
		"a version twice":      one(inserted(0), updated(20, "s1.2", 2), updated(40, "s1.3", 2)),
		"a doubtful write happened twice": one(
			inserted(0), doubt(updated(20, "s1.2", 0)), updated(40, "s1.3", 4)),
		"a conflict without a writer": one(
			inserted(0), refused(20)),
		"an early update is lost": crashed(never, never,
			inserted(0), updated(300, "s1.2", 2), read(1100, 0, 1, "s1.1", 1)),
		"a lost update comes back": crashed(never, never,
			inserted(0), updated(500, "s1.2", 2), read(1100, 0, 1, "s1.1", 1), read(5000, 0, 1, "s1.2", 2)),
		"an update is lost and a later one is not": crashed(never, never,
			inserted(0), updated(500, "s1.2", 2), updated(600, "s1.3", 3), read(1100, 0, 1, "s1.3", 2)),
		"a revoke is lost": crashed(never, never,
			inserted(0), revoked(500), read(1100, 0, 1, "s1.1", 1)),
		"a doubtful revoke was seen and is lost": crashed(never, never,
			inserted(0), doubt(revoked(500)), missed(600, 1), read(5000, 0, 1, "s1.1", 1)),
		"an update before a rotate is lost": crashed(never, never,
			inserted(0), updated(500, "s1.2", 2), renewedAt(600, 1, 2), read(1100, 0, 2, "s1.1", 1)),
	} {
		if found := h.check(); len(found) != 1 {
			t.Errorf("%s: %d violations", name, len(found))
		} else if strings.Contains(found[0].what, "took longer") {
			t.Errorf("%s: %s", name, found[0].what)
		}
	}
}

// one returns the history of one session.
func one(calls ...*call) *history {
	h := newHistory()
	h.addSession(&session{id: h.newID(), home: -1, calls: calls})
	return h
}

// crashed returns a history with a crash at 1000 ms. The crash may lose the asynchronous writes acknowledged
// in the 600 ms before it, and the other writes as the arguments say.
func crashed(strict, doubtful int64, calls ...*call) *history {
	h := one(calls...)
	h.addCrash(crashWindow{
		start: 1000e6, end: 1010e6, asynchronous: 400e6, strict: strict, doubtful: doubtful,
	})
	return h
}

// A session with as many calls as in the workload, some in doubt, must be checked quickly.
func TestTheCheckIsFast(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	calls := []*call{inserted(0)}
	version := int32(1)
	for i := range int64(callsPerSession) {
		switch ms := 100 + 100*i; {
		case i%20 == 19:
			calls = append(calls, doubt(updated(ms, fmt.Sprintf("lost.%d", i), 0)))
		case rng.IntN(3) == 0:
			version++
			calls = append(calls, updated(ms, fmt.Sprintf("s1.%d", version), version))
		default:
			calls = append(calls, read(ms, rng.IntN(3), 1, fmt.Sprintf("s1.%d", version), version))
		}
	}
	calls[0].payload = "s1.1"
	for _, wrong := range []bool{false, true} {
		if wrong {
			calls = append(calls, read(100000, 0, 1, "s1.1", 1))
		}
		began := time.Now()
		found := one(calls...).check()
		if len(found) > 0 != wrong {
			t.Errorf("wrong %v: %v", wrong, found)
		}
		t.Logf("wrong %v: %v", wrong, time.Since(began))
	}
}
