package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// A storage holds sessions or cache entries, in our tables or elsewhere. seed fills numbered slots with one
// live session or entry each.
type storage interface {
	name() string
	cpu() meter
	seed(ctx context.Context, rows int) error
	clear(ctx context.Context) error // it deletes all sessions or entries
	close()
}

// A peer is a storage of sessions.
type peer interface {
	storage
	lookup(ctx context.Context, slot int) error
	insert(ctx context.Context) error
}

// A cacher is a storage of cache entries, under keys that its caller chooses.
type cacher interface {
	storage
	get(ctx context.Context, key string) (found bool, err error)
	set(ctx context.Context, key string) error
	increment(ctx context.Context, key string) error
	getAndTouch(ctx context.Context, key string) error
	fetch(ctx context.Context, key string, load func() string) error // get, or else load and set
}

// A pager is a peer that can serve whole page views.
type pager interface {
	peer
	page(ctx context.Context, view view) error
}

// A view is one page view, which always reads the session and keeps it alive.
type view struct {
	slot  int
	write bool // it writes the payload
	relog bool // it logs out and in again
}

// A relog is a logout and a login, so that the number of sessions stays the same.
const (
	viewsPerWrite = 20
	viewsPerRelog = 400
)

// ownSlot draws one of the slots that no other caller uses.
func (c *caller) ownSlot(rows int) int { return c.rng.IntN(rows/c.of)*c.of + c.index }

// view draws a caller's next page view. Each caller has slots of its own, because a user looks at one page at
// a time.
func (c *caller) view(rows int) view {
	return view{
		slot:  c.ownSlot(rows),
		write: c.rng.IntN(viewsPerWrite) == 0,
		relog: c.rng.IntN(viewsPerRelog) == 0,
	}
}

const (
	idleTimeout = 30 * time.Minute

	// poolSize is the size of a database/sql pool. It equals the Store's and suits an UNLOGGED table best.
	poolSize = 16

	// scsPoolSize is the size that suits scs best.
	scsPoolSize = 64
)

// payload is the payload of every session outside the payload scenario.
var payload = strings.Repeat(`{"k": "0123456789"} `, 13)[:250]

// cacheValue is the value of every cache entry.
var cacheValue = payload[:200]

// jsonPayload is JSON of the same size.
var jsonPayload = fmt.Sprintf(`{"payload": %q}`, strings.Repeat("0123456789", 24)[:235])

// newKey makes a session's key of 130 random bits, for peers that leave it to their caller.
func newKey() string { return rand.Text() }

// slotKey is the key of a seeded session.
func slotKey(slot int) string { return fmt.Sprintf("%032d", slot) }

// slotKeySQL is the same for a number g from 0.
const slotKeySQL = `lpad(g::text, 32, '0')`

func slotKeys(rows int) []string {
	keys := make([]string, rows)
	for slot := range keys {
		keys[slot] = slotKey(slot)
	}
	return keys
}

// fill calls a function for each slot, from many goroutines.
func fill(ctx context.Context, rows int, set func(slot int) error) error {
	const callers = 64
	errs := make([]error, callers)
	var wait sync.WaitGroup
	for i := range callers {
		wait.Go(func() {
			for slot := i; slot < rows && errs[i] == nil && ctx.Err() == nil; slot += callers {
				errs[i] = set(slot)
			}
		})
	}
	wait.Wait()
	return errors.Join(append(errs, ctx.Err())...)
}

// cacheAside is the usual way to fetch an entry. Nothing keeps the callers of a missing entry from loading it
// all at once.
func cacheAside(ctx context.Context, c cacher, key string, load func() string) error {
	if found, err := c.get(ctx, key); found || err != nil {
		return err
	}
	load()
	return c.set(ctx, key)
}
