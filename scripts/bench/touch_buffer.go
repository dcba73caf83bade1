package main

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"

	"github.com/sessionsql/postgres/sessionsql"
)

// touchBufferMiB returns a Store's memory for this many pending touches. A driver without a server answers
// the lookups, because only the client's memory counts.
func touchBufferMiB(ctx context.Context, pending int) (float64, error) {
	pool := sql.OpenDB(answering{})
	defer pool.Close()
	options := *quiet
	// The driver cannot answer the Store's questions about servers, which would be logged.
	options.Logger = slog.New(slog.DiscardHandler)
	store, err := sessionsql.OpenDB(pool, nil, &options)
	if err != nil {
		return 0, err
	}
	before := heapBytes()
	for id := range int64(pending) {
		if _, err := store.Lookup(ctx, seededToken(id+1)); err != nil {
			return 0, fmt.Errorf("touch buffer: %w", err)
		}
	}
	after := heapBytes()
	if found := store.Stats().TouchesPending; found != int64(pending) {
		return 0, fmt.Errorf("touch buffer: %d touches are pending, not %d", found, pending)
	}
	// The driver has no server to flush to, so Close gets an ended context.
	ended, cancel := context.WithCancel(ctx)
	cancel()
	_ = store.Close(ended)
	return float64(after-before) / (1 << 20), nil
}

func heapBytes() int64 {
	runtime.GC()
	runtime.GC() // the second run frees what the first one finalized
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// answering is a driver that answers every query with one live session, whose id is the first argument.
type answering struct{}

func (answering) Connect(context.Context) (driver.Conn, error) { return answering{}, nil }
func (answering) Driver() driver.Driver                        { return nil }
func (answering) Prepare(string) (driver.Stmt, error)          { return nil, errors.ErrUnsupported }
func (answering) Begin() (driver.Tx, error)                    { return nil, errors.ErrUnsupported }
func (answering) Close() error                                 { return nil }

func (answering) QueryContext(_ context.Context, _ string, args []driver.NamedValue) (driver.Rows, error) {
	return &oneSession{id: args[0].Value}, nil
}

// oneSession is a row of sessionsql.live_session.
type oneSession struct {
	id   driver.Value
	done bool
}

func (*oneSession) Columns() []string {
	return []string{"id", "payload", "version", "subject", "expires_in"}
}
func (*oneSession) Close() error { return nil }

func (o *oneSession) Next(row []driver.Value) error {
	if o.done {
		return io.EOF
	}
	o.done = true
	row[0], row[1], row[2], row[3], row[4] = o.id, "", int64(1), nil, idleTimeout.Seconds()
	return nil
}
