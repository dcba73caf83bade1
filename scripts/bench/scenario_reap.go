package main

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/sessionsql/postgres/db"
)

// A Reap is the cost of one call of one way of reaping on a table of one size.
type Reap struct {
	Contestant string  `json:"contestant"`
	Rows       int     `json:"rows"`    // rows of the table
	Expired    int     `json:"expired"` // expired rows among them
	Reaped     float64 `json:"reaped"`  // rows reaped by a call
	Pages      float64 `json:"pages"`   // page reads a call, those before a write included
	CPU        float64 `json:"cpu_us"`  // a call, server only; the median over the rounds
	Time       float64 `json:"time_us"` // a call; the median over the rounds
}

const (
	expiredShare = 20 // one row in this many has expired, evenly over the table

	limitedName   = "DELETE ... LIMIT 1000"
	limitedDelete = `
		DELETE FROM sessionsql.session
		WHERE id IN (SELECT id FROM sessionsql.session WHERE expires_at <= now() LIMIT 1000)`
	unboundedName   = "unbounded DELETE"
	unboundedDelete = "DELETE FROM sessionsql.session WHERE expires_at <= now()"
)

// reap measures the cost of deleting expired rows as the table grows, and its effect on lookups.
func (b *bench) reap(ctx context.Context) error {
	if err := b.reapCost(ctx); err != nil {
		return fmt.Errorf("reap: %w", err)
	}
	if err := b.reapBesideLookups(ctx); err != nil {
		return fmt.Errorf("reap: %w", err)
	}
	return nil
}

// reapCost runs every way of reaping on tables of every size, first with expired rows and then without any.
// Each turn is a transaction that rolls back, so that all turns meet the same table.
func (b *bench) reapCost(ctx context.Context) error {
	var tables []*reapTable
	defer func() {
		for _, each := range tables {
			each.db.close()
		}
	}()
	for _, rows := range b.reapSizes {
		b.say("reap: loading %d sessions, one in %d expired", rows, expiredShare)
		table, err := b.loadReapTable(ctx, rows)
		if err != nil {
			return err
		}
		tables = append(tables, table)
	}
	ours, err := b.reapRounds(ctx, tables)
	if err != nil {
		return err
	}
	var ratios []float64
	smallest, largest := ours[0], ours[len(ours)-1]
	for round := range smallest {
		ratios = append(ratios, largest[round].CPU/smallest[round].CPU)
	}
	b.report.Ratios["reap_cpu_large_vs_small"] = median(ratios)

	if b.late() {
		return nil
	}
	b.say("reap: deleting what is expired")
	for _, each := range tables {
		each.expired = 0
		if err := each.db.exec(ctx, unboundedDelete, "VACUUM sessionsql.session"); err != nil {
			return err
		}
	}
	_, err = b.reapRounds(ctx, tables)
	return err
}

// reapRounds adds the medians to the report, and returns our rounds on each table.
func (b *bench) reapRounds(ctx context.Context, tables []*reapTable) (ours [][]Reap, err error) {
	reaper := db.New()
	ways := []reapWay{
		{"sessionsql.reap", b.reapCalls, func(ctx context.Context, tx *sql.Tx) (int64, error) {
			row, err := reaper.Reap(ctx, tx, db.ReapParams{MaxRows: 1000, MaxPages: int32(b.reapPages)})
			return row.Reaped, err
		}},
		{limitedName, 2, execReap(limitedDelete)},
		{unboundedName, 1, execReap(unboundedDelete)},
	}
	measured := make([][][]Reap, len(ways)) // by way, table and round
	for i := range ways {
		measured[i] = make([][]Reap, len(tables))
	}
	for round := range b.rounds + 1 { // the first one warms up
		if round > 1 && b.late() {
			break
		}
		b.say("reap: round %d of %d", round, b.rounds)
		for i, way := range ways {
			for k, table := range tables {
				one, err := way.turn(ctx, table, b.servers.postgresMeter())
				if err != nil {
					return nil, fmt.Errorf("%s: %w", way.name, err)
				}
				if round > 0 {
					measured[i][k] = append(measured[i][k], one)
				}
			}
		}
	}
	for i := range ways {
		for _, rounds := range measured[i] {
			result := rounds[0]
			result.CPU = medianOf(rounds, func(r Reap) float64 { return r.CPU })
			result.Time = medianOf(rounds, func(r Reap) float64 { return r.Time })
			b.report.Reap = append(b.report.Reap, result)
		}
	}
	return measured[0], nil
}

// A reapTable is the session table of its own database.
type reapTable struct {
	db      *database
	rows    int
	expired int
}

func (b *bench) loadReapTable(ctx context.Context, rows int) (*reapTable, error) {
	d, err := b.servers.database(ctx, fmt.Sprintf("reap_%d", rows))
	if err != nil {
		return nil, err
	}
	expiry := fmt.Sprintf("now() + CASE WHEN g %% %d = 0 THEN interval '-1 hour' ELSE interval '1 day' END",
		expiredShare)
	if err := d.seedSessions(ctx, rows, expiry); err != nil {
		d.close()
		return nil, err
	}
	return &reapTable{db: d, rows: rows, expired: rows / expiredShare}, nil
}

// A reapWay is a way to reap. Its call returns the number of deleted rows.
type reapWay struct {
	name  string
	calls int // calls in one turn
	call  func(context.Context, *sql.Tx) (reaped int64, err error)
}

func execReap(statement string) func(context.Context, *sql.Tx) (int64, error) {
	return func(ctx context.Context, tx *sql.Tx) (int64, error) {
		result, err := tx.ExecContext(ctx, statement)
		if err != nil {
			return 0, err
		}
		return result.RowsAffected()
	}
}

func (w reapWay) turn(ctx context.Context, table *reapTable, m meter) (Reap, error) {
	result := Reap{Contestant: w.name, Rows: table.rows, Expired: table.expired}
	tx, err := table.db.pool.BeginTx(ctx, nil)
	if err != nil {
		return result, err
	}
	defer func() { _ = tx.Rollback() }()
	pagesBefore, err := pagesRead(ctx, tx)
	if err != nil {
		return result, err
	}
	before, err := m.used()
	if err != nil {
		return result, err
	}
	begin := time.Now()
	for range w.calls {
		reaped, err := w.call(ctx, tx)
		if err != nil {
			return result, err
		}
		result.Reaped += float64(reaped) / float64(w.calls)
	}
	took := time.Since(begin)
	after, err := m.used()
	if err != nil {
		return result, err
	}
	result.CPU = (after - before).Seconds() * 1e6 / float64(w.calls)
	result.Time = took.Seconds() * 1e6 / float64(w.calls)
	pagesAfter, err := pagesRead(ctx, tx)
	result.Pages = (pagesAfter - pagesBefore) / float64(w.calls)
	return result, err
}

// pagesRead returns the number of page reads of the table that this connection has not reported to the server
// yet.
func pagesRead(ctx context.Context, tx *sql.Tx) (pages float64, err error) {
	err = tx.QueryRowContext(ctx,
		"SELECT pg_stat_get_xact_blocks_fetched('sessionsql.session'::regclass)").Scan(&pages)
	return pages, err
}
