package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"time"
)

// A peer is a session store, ours or another one. seed fills numbered slots with one live session each.
type peer interface {
	name() string
	cpu() meter
	seed(ctx context.Context, rows int) error
	lookup(ctx context.Context, slot int) error
	insert(ctx context.Context) error
	clear(ctx context.Context) error // it deletes all sessions
	close()
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

// view draws a caller's next page view. Each caller has slots of its own, because a user looks at one page at
// a time.
func (c *caller) view(rows int) view {
	return view{
		slot:  c.rng.IntN(rows/c.of)*c.of + c.index,
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
