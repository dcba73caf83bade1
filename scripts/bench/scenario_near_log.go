package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync/atomic"

	"github.com/sessionsql/postgres/sessionsql"
)

// loggingFunctions are the functions that a race calls, with and without the log of changes.
var loggingFunctions = []string{"revoke", "revoke_batch", "rotate", "update_payload", "update_payload_batch"}

// logStatements matches the statements that write the log.
var logStatements = regexp.MustCompile(`\n *INSERT INTO sessionsql\.change \(ids\) VALUES \([^;]*\);`)

// nearLog measures the price of the log of changes, by the bundle's functions beside the same functions
// without the statement that writes the log. Each turn ends with the purge of the log and a vacuum, because
// autovacuum's cost would count with some turn.
func (b *bench) nearLog(ctx context.Context, any *database) (err error) {
	undo, err := any.alterSystem(ctx, map[string]string{"autovacuum": "off"})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, undo()) }()
	var stores []*ours
	defer func() { closeAll(stores) }()
	for _, variant := range []string{"log", "no_log"} {
		d, err := b.servers.database(ctx, "near_"+variant)
		if err != nil {
			return err
		}
		defer d.close()
		if variant == "no_log" {
			if err := d.stopLogging(ctx); err != nil {
				return err
			}
		}
		store, err := openOurs(ctx, d, quiet)
		if err != nil {
			return err
		}
		stores = append(stores, store)
	}
	races := []struct {
		name string
		turn turn
		op   func(context.Context, *ours, *logTurns, *caller) error
	}{
		{"near: logout", turn{ops: b.nearLogOps}, revokeNext},
		{"near: new secret", turn{}, rotateOwn},
		{"near: payload write", turn{}, updateOwn},
	}
	worst := 0.0
	for _, r := range races {
		var contestants []contestant
		for i, store := range stores {
			turns := &logTurns{rows: max(b.nearLogOps, b.lookupRows/10)}
			again := func(ctx context.Context) error { return turns.begin(ctx, store) }
			if err := again(ctx); err != nil {
				return err
			}
			contestants = append(contestants, contestant{
				name: []string{"sessionsql", "without the log"}[i], cpu: store.cpu(), reset: again,
				op:     func(ctx context.Context, c *caller) error { return r.op(ctx, store, turns, c) },
				finish: store.cleanUp,
			})
		}
		r.turn.callers, r.turn.slice = ratioCallers, b.slice
		r.turn.often = true // because the price is a few hundredths
		results, err := b.race(ctx, r.name, r.turn, contestants)
		if err != nil {
			return err
		}
		if r.name != "near: new secret" {
			worst = max(worst, ratio(results[0], results[1], cpu))
		}
	}
	b.report.Ratios["near_log_cost"] = worst
	return nil
}

// stopLogging takes the statements that write the log out of the functions.
func (d *database) stopLogging(ctx context.Context) error {
	for _, name := range loggingFunctions {
		var definition string
		err := d.pool.QueryRowContext(ctx, `
			SELECT pg_get_functiondef(p.oid) FROM pg_proc AS p
			WHERE p.pronamespace = 'sessionsql'::regnamespace AND p.proname = $1`, name).Scan(&definition)
		if err != nil {
			return fmt.Errorf("sessionsql.%s: %w", name, err)
		}
		silent := logStatements.ReplaceAllString(definition, "")
		if strings.Contains(silent, "sessionsql.change ") || silent == definition {
			return fmt.Errorf("sessionsql.%s writes the log in a form that logStatements does not know", name)
		}
		if err := d.exec(ctx, silent); err != nil {
			return err
		}
	}
	return nil
}

// logTurns are the sessions of one contestant.
type logTurns struct {
	rows  int
	ended atomic.Int64
}

// begin makes all sessions anew.
func (l *logTurns) begin(ctx context.Context, store *ours) error {
	l.ended.Store(0)
	if err := store.clear(ctx); err != nil {
		return err
	}
	return store.seed(ctx, l.rows)
}

// cleanUp does what the reaper and autovacuum do minutes later.
func (o *ours) cleanUp(ctx context.Context) error {
	for _, statement := range []string{
		"DELETE FROM sessionsql.change", "VACUUM sessionsql.change", "VACUUM sessionsql.session",
	} {
		if err := o.db.exec(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

func revokeNext(ctx context.Context, store *ours, l *logTurns, _ *caller) error {
	return store.store.Revoke(ctx, store.tokens[l.ended.Add(1)-1])
}

func rotateOwn(ctx context.Context, store *ours, l *logTurns, c *caller) (err error) {
	token := &store.tokens[c.ownSlot(l.rows)]
	*token, err = store.store.Rotate(ctx, *token, nil)
	return err
}

func updateOwn(ctx context.Context, store *ours, l *logTurns, c *caller) error {
	_, err := store.store.Update(ctx, store.tokens[c.ownSlot(l.rows)], payload, sessionsql.AnyVersion)
	return err
}
