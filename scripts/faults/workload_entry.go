package main

import (
	"context"
	"fmt"
	"sync/atomic"
)

// entrySlots is how many cache entries are alive at a time. An entry has the history of a session whose only
// secret is its key: the first Set inserts it, later ones update it, and Delete revokes it. Its cache is
// Final, so that no Set brings it back.
const entrySlots = 16

// actOnEntry makes one call for the entry in a slot. The Stores share half of the entries.
func (c *caller) actOnEntry() {
	slot := c.rng.IntN(entrySlots)
	home := -1
	if slot%2 == 1 {
		home = slot % len(c.g.stores)
	}
	mayWrite := home < 0 || home == c.store
	e := c.g.entries[slot].Load()
	if e == nil || e.worn() && c.rng.IntN(4) == 0 {
		if mayWrite {
			c.firstSet(&c.g.entries[slot], e, home)
		}
		return
	}
	switch n := c.rng.IntN(100); {
	case n < 50 || !mayWrite || e.doubtful():
		c.get(e)
	case n < 90:
		c.set(e)
	default:
		c.delete(e)
	}
}

// firstSet makes the entry of a slot. An entry whose first Set failed may exist, and stays unknown.
func (c *caller) firstSet(slot *atomic.Pointer[session], old *session, home int) {
	e := &session{id: c.g.history.newID(), home: home}
	key := fmt.Sprintf("entry %d of group %d", e.id, c.g.number)
	if c.rng.IntN(2) == 0 {
		key = nearName + key
	}
	one := &call{verb: insert, entry: true, store: c.store, next: 1, payload: e.nextPayload(c.rng)}
	c.call(one, func(ctx context.Context) error {
		return c.g.stores[c.store].SetEntry(ctx, key, one.payload)
	})
	if one.outcome != done {
		return
	}
	e.tokens = []string{key}
	e.add(one)
	c.g.history.addSession(e)
	slot.CompareAndSwap(old, e)
}

func (c *caller) get(e *session) {
	one, key := c.begin(lookup, e, 0)
	one.entry, one.recalled = true, c.rng.IntN(3) == 0
	c.call(one, func(ctx context.Context) (err error) {
		if one.recalled {
			one.payload, err = c.g.stores[c.store].RecallEntry(key)
		} else {
			one.payload, err = c.g.stores[c.store].GetEntry(ctx, key)
		}
		return err
	})
	if one.outcome == done || !one.recalled { // memory may have no answer
		e.add(one)
	}
}

func (c *caller) set(e *session) {
	one, key := c.begin(update, e, 0)
	one.entry, one.payload = true, e.nextPayload(c.rng)
	c.call(one, func(ctx context.Context) error {
		return c.g.stores[c.store].SetEntry(ctx, key, one.payload)
	})
	e.add(one)
}

func (c *caller) delete(e *session) {
	one, key := c.begin(revoke, e, 0)
	one.entry = true
	c.call(one, func(ctx context.Context) error { return c.g.stores[c.store].DeleteEntry(ctx, key) })
	e.add(one)
}
