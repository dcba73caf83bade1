package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sessionsql/postgres/db"
	"github.com/sessionsql/postgres/internal/pgtext"
	"github.com/sessionsql/postgres/sessionsql"
)

const (
	scaleCallers = 256

	// Each verb has sessions of its own, one in this many, so that none meets what another one ended. They
	// lie on the same pages, so that a change meets a dead row there, as in a table that is in use.
	scaleClasses = 20

	// scalePrime scatters the order of the sessions, because it divides no number of rows in use here.
	scalePrime = 7_368_787
)

// next returns a session of a class that was not drawn before, among the newest of the table if share is
// more than 1.
func (t *scaleTable) next(class, share int) int64 {
	each := int64(t.rows / scaleClasses)
	drawn := (t.used[class].Add(1) - 1) * scalePrime % (each / int64(share))
	return (each-each/int64(share)+drawn)*scaleClasses + int64(class) + 1
}

func (t *scaleTable) token(class int) sessionsql.Token { return seededToken(t.next(class, 1)) }
func (t *scaleTable) key(class int) string             { return slotKey(int(t.next(class, 1))) }

// A scaleVerb does a number of operations at once.
type scaleVerb struct {
	name    string
	prepare func(ctx context.Context, ops int) error // not measured; may be nil
	run     func(ctx context.Context, ops int) error
}

func (t *scaleTable) verbs() []scaleVerb {
	calls := func(name string, op func(context.Context) error) scaleVerb {
		return scaleVerb{name: name, run: func(ctx context.Context, ops int) error {
			return call(ctx, func(ctx context.Context, _ *caller) error { return op(ctx) },
				turn{callers: scaleCallers, slice: time.Hour, ops: ops}, histogramsFor(scaleCallers))
		}}
	}
	lookup := func(class, share int) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := t.store.Lookup(ctx, seededToken(t.next(class, share)))
			return err
		}
	}
	other := randomText(len(payload))
	verbs := []scaleVerb{
		calls("insert", func(ctx context.Context) error {
			_, err := t.store.Insert(ctx, payload, nil)
			return err
		}),
		calls("lookup", lookup(0, 1)),
		calls("lookup in the newest fifth", lookup(1, 5)),
		t.keepalive(2),
		calls("update", func(ctx context.Context) error {
			_, err := t.store.Update(ctx, t.token(3), other, sessionsql.AnyVersion)
			return err
		}),
		calls("rotate", func(ctx context.Context) error {
			_, err := t.store.Rotate(ctx, t.token(4), nil)
			return err
		}),
		calls("revoke", func(ctx context.Context) error { return t.store.Revoke(ctx, t.token(5)) }),
	}
	if t.rows > t.scaleCacheRows {
		return verbs
	}
	touch := calls("cache touch", func(ctx context.Context) error {
		return t.cache.Touch(ctx, t.key(8), 2*time.Hour)
	})
	touch.prepare = func(ctx context.Context, _ int) error {
		return t.store.Flush(ctx) // because lookups leave touches behind
	}
	noted := touch.run
	touch.run = func(ctx context.Context, ops int) error {
		return errors.Join(noted(ctx, ops), t.store.Flush(ctx))
	}
	return append(verbs,
		calls("cache get", func(ctx context.Context) error {
			_, err := t.cache.Get(ctx, t.key(7))
			return err
		}),
		calls("cache set", func(ctx context.Context) error {
			return t.cache.Set(ctx, t.key(6), []byte(other[:len(cacheValue)]), time.Hour)
		}),
		touch,
		calls("cache delete", func(ctx context.Context) error { return t.cache.Delete(ctx, t.key(9)) }),
	)
}

// keepalive touches sessions that were made due before.
func (t *scaleTable) keepalive(class int) scaleVerb {
	var ids pgtext.IDs
	return scaleVerb{
		name: "keepalive",
		prepare: func(ctx context.Context, ops int) error {
			ids = nil
			for range ops {
				ids = append(ids, t.next(class, 1))
			}
			_, err := t.db.pool.ExecContext(ctx,
				"UPDATE sessionsql.session SET expires_at = "+dueExpiry+" WHERE id = ANY ($1::bigint[])", ids)
			return err
		},
		run: func(ctx context.Context, _ int) error {
			touched, err := db.New().TouchBatch(ctx, t.db.pool, ids)
			if err == nil && touched != int64(len(ids)) {
				err = fmt.Errorf("%d of %d sessions were touched", touched, len(ids))
			}
			return err
		},
	}
}

// reap deletes a number of expired sessions, as the Store's loop does.
func (t *scaleTable) reap(ctx context.Context, ops int) error {
	for left := int64(ops); left > 0; {
		done, err := db.New().Reap(ctx, t.db.pool,
			db.ReapParams{MaxRows: int32(min(left, 1000)), MaxPages: 4096})
		if err != nil {
			return err
		}
		if done.LapDone && done.Reaped == 0 {
			return fmt.Errorf("%d expired sessions are missing", left)
		}
		left -= done.Reaped
	}
	return nil
}
