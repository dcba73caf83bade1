package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"
)

const (
	storeCount      = 3
	callersPerStore = 8
	slotCount       = 60
	userCount       = 6
	sharedSlots     = 20 // every Store writes these sessions, and one Store each of the others

	callsPerSession  = 80 // more calls would take long to check
	doubtsPerSession = 3

	shortIdle     = 1500 * time.Millisecond
	shortLifetime = 2500 * time.Millisecond
)

// A caller acts as one program that handles requests one after the other.
type caller struct {
	g     *group
	store int
	rng   *rand.Rand
	pause time.Duration // the average pause between two calls
}

func (g *group) startWorkload(seed uint64, pause time.Duration) {
	for i := range userCount {
		g.users = append(g.users, &user{subject: fmt.Sprintf("user %d", i)})
	}
	g.slots = make([]atomic.Pointer[session], slotCount)
	g.entries = make([]atomic.Pointer[session], entrySlots)
	for i := range g.stores {
		for j := range callersPerStore {
			c := &caller{
				g: g, store: i, pause: pause,
				rng: rand.New(rand.NewPCG(seed, uint64(i*callersPerStore+j))),
			}
			g.running.Go(c.run)
		}
	}
}

func (c *caller) run() {
	for {
		select {
		case <-c.g.stopping:
			return
		case <-time.After(c.pause/2 + time.Duration(c.rng.Int64N(int64(c.pause)))):
			c.act(c.rng.IntN(slotCount))
		}
	}
}

// act makes one call for the session in a slot, for a user or for a cache entry.
func (c *caller) act(slot int) {
	switch n := c.rng.IntN(100); {
	case n < 15:
		c.serve(c.g.users[c.rng.IntN(len(c.g.users))])
		return
	case n < 35:
		c.actOnEntry()
		return
	}
	home := -1
	if slot >= sharedSlots {
		home = slot % len(c.g.stores)
	}
	mayWrite := home < 0 || home == c.store
	s := c.g.slots[slot].Load()
	if s == nil || s.worn() && c.rng.IntN(4) == 0 {
		if mayWrite {
			c.insert(slot, s, home)
		}
		return
	}
	switch n := c.rng.IntN(100); {
	case n < 45 || !mayWrite || s.doubtful():
		c.lookup(s)
	case n < 75:
		c.update(s)
	case n < 92:
		c.rotate(s)
	default:
		c.revoke(s)
	}
}

// worn reports whether a session should be replaced.
func (s *session) worn() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended || s.doubts >= doubtsPerSession || len(s.calls) >= callsPerSession
}

// doubtful reports whether a session has as many writes in doubt as the check can handle.
func (s *session) doubtful() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.doubts >= doubtsPerSession
}

// insert makes the session of a slot. Some expire soon. The ones with a short idle timeout get no call whose
// use is uncertain.
func (c *caller) insert(slot int, old *session, home int) {
	s := &session{id: c.g.history.newID(), home: home}
	own := &insertOptions{}
	switch slot % 10 {
	case 3:
		own.IdleTimeout, s.unused = shortIdle, true
	case 7:
		own.Lifetime = shortLifetime
	}
	if one := c.create(s, own); s.tokens != nil {
		s.add(one)
		c.g.history.addSession(s)
		c.g.slots[slot].CompareAndSwap(old, s)
	}
}

// create makes a session. A session without a known token may exist, and stays unknown.
func (c *caller) create(s *session, own *insertOptions) *call {
	one := &call{
		verb: insert, store: c.store, next: 1, payload: s.nextPayload(c.rng),
		idle: own.IdleTimeout, lifetime: own.Lifetime,
	}
	do := c.g.stores[c.store].Insert
	if c.rng.IntN(3) == 0 && !c.g.routes.noTransactions {
		one.verb, do = insertTx, c.g.stores[c.store].InsertTx
	}
	var token string
	c.call(one, func(ctx context.Context) (err error) {
		token, err = do(ctx, one.payload, own)
		return err
	})
	if token != "" {
		s.tokens, s.row = []string{token}, rowOf(token)
	}
	return one
}

func (c *caller) lookup(s *session) {
	if c.rng.IntN(3) == 0 && c.recall(s) {
		return
	}
	one, token := c.begin(lookup, s, 25)
	do := c.g.stores[c.store].Lookup
	if s.unused || c.rng.IntN(4) == 0 {
		do = c.g.stores[c.store].Peek
	}
	c.call(one, func(ctx context.Context) (err error) {
		one.payload, one.version, err = do(ctx, token)
		return err
	})
	s.add(one)
}

// recall looks a session up in the Store's memory, and reports whether it is there.
func (c *caller) recall(s *session) bool {
	one, token := c.begin(lookup, s, 25)
	one.recalled = true
	c.call(one, func(context.Context) (err error) {
		one.payload, one.version, err = c.g.stores[c.store].Recall(token)
		return err
	})
	if one.outcome != done {
		return false
	}
	s.add(one)
	return true
}

func (c *caller) update(s *session) {
	one, token := c.begin(update, s, 5)
	one.payload, one.expected = s.nextPayload(c.rng), anyVersion
	s.mu.Lock()
	if c.rng.IntN(2) == 0 && s.version > 0 {
		one.expected = s.version
	}
	s.mu.Unlock()
	c.call(one, func(ctx context.Context) (err error) {
		one.version, err = c.g.stores[c.store].Update(ctx, token, one.payload, one.expected)
		return err
	})
	s.add(one)
}

func (c *caller) rotate(s *session) {
	one, token := c.begin(rotate, s, 5)
	var renewed string
	c.call(one, func(ctx context.Context) (err error) {
		renewed, err = c.g.stores[c.store].Rotate(ctx, token)
		return err
	})
	if one.outcome == done {
		s.mu.Lock()
		s.tokens = append(s.tokens, renewed)
		one.next = len(s.tokens)
		s.mu.Unlock()
	}
	s.add(one)
}

func (c *caller) revoke(s *session) {
	one, token := c.begin(revoke, s, 5)
	c.call(one, func(ctx context.Context) error { return c.g.stores[c.store].Revoke(ctx, token) })
	s.add(one)
}

// begin prepares a call with the latest token of a session, or with an older one in some percent of the
// cases.
func (c *caller) begin(v verb, s *session, older int) (*call, string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	secret := len(s.tokens)
	if secret > 1 && c.rng.IntN(100) < older {
		secret--
		if secret > 1 && c.rng.IntN(4) == 0 {
			secret = 1 + c.rng.IntN(secret-1)
		}
	}
	return &call{verb: v, store: c.store, secret: secret}, s.tokens[secret-1]
}

// call makes a call and notes its times and outcome.
func (c *caller) call(one *call, do func(context.Context) error) {
	var err error
	one.start, one.end, err = c.g.timed(one.verb.String(), do)
	var untyped bool
	if one.outcome, untyped = outcomeOf(one.verb, err); untyped {
		c.g.report("store %d: %v: untyped error: %v", c.store, one.verb, err)
	}
	if one.outcome == unsure {
		one.err = strings.Join(strings.Fields(err.Error()), " ")
	}
}

// nextPayload returns a payload that no other write of the history has. Some payloads are large.
func (s *session) nextPayload(rng *rand.Rand) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes++
	payload := fmt.Sprintf("s%d.%d", s.id, s.writes)
	if rng.IntN(10) == 0 {
		payload += " " + strings.Repeat("x", 3000)
	}
	return payload
}
