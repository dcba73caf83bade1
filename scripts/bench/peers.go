package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"time"
)

// A peer is a session store: ours, or one that people use instead. Its rows are numbered slots; seed fills
// them, each with one live session.
type peer interface {
	name() string
	cpu() meter
	seed(ctx context.Context, rows int) error
	lookup(ctx context.Context, slot int) error
	insert(ctx context.Context) error
	clear(ctx context.Context) error // deletes all sessions
	close()
}

// A pager is a peer that can serve whole page views.
type pager interface {
	peer
	page(ctx context.Context, view view) error
}

// A view is one page view: the session is read and kept alive in any case.
type view struct {
	slot  int
	write bool // the payload is written
	relog bool // the session is logged out, and another logged in
}

// One view in 20 writes. One in 400 logs out and in again, so that one login or logout comes on every 200
// views and the number of sessions stays what it is.
const (
	viewsPerWrite = 20
	viewsPerRelog = 400
)

// view draws the next page view of a caller. Each caller has slots of its own: a user looks at one page at a
// time.
func (c *caller) view(rows int) view {
	return view{
		slot:  c.rng.IntN(rows/c.of)*c.of + c.index,
		write: c.rng.IntN(viewsPerWrite) == 0,
		relog: c.rng.IntN(viewsPerRelog) == 0,
	}
}

const (
	idleTimeout = 30 * time.Minute

	// poolSize is the number of connections in a database/sql pool, the same as a Store's: 8 and 16 are where
	// an UNLOGGED table takes most inserts from 64 callers (2 cores; 64 connections: a sixth less).
	poolSize = 16

	// scsPoolSize is that of scs, which gets a tenth more out of 64 connections than out of 16.
	scsPoolSize = 64
)

// payload is what every session holds unless the scenario is about payloads.
var payload = strings.Repeat(`{"k": "0123456789"} `, 13)[:250]

// jsonPayload is the same for who stores JSON, of the same size.
var jsonPayload = fmt.Sprintf(`{"payload": %q}`, strings.Repeat("0123456789", 24)[:235])

// newKey makes the key of a new session for the peers that leave that to their caller: 130 random bits.
func newKey() string { return rand.Text() }

// slotKey is the key of a seeded session.
func slotKey(slot int) string { return fmt.Sprintf("%032d", slot) }

// slotKeySQL is the same for a number g, from 0.
const slotKeySQL = `lpad(g::text, 32, '0')`

func slotKeys(rows int) []string {
	keys := make([]string, rows)
	for slot := range keys {
		keys[slot] = slotKey(slot)
	}
	return keys
}
