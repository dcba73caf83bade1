package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/sessionsql/postgres/db"
	"github.com/sessionsql/postgres/internal/pgtext"
)

// A Keepalive is the cost of one way to extend sessions.
type Keepalive struct {
	Contestant string  `json:"contestant"`
	Rows       int     `json:"rows"`           // rows written
	CPU        float64 `json:"cpu_us"`         // a row, client and server; the median over the chunks
	Time       float64 `json:"time_us"`        // a row; the median over the chunks
	WAL        float64 `json:"wal_bytes"`      // a row, over all passes
	FirstPass  float64 `json:"wal_first_pass"` // a row, full-page images included; 0 if not measured
	LastPass   float64 `json:"wal_last_pass"`  // a row, after each page had its image; 0 if not measured
	HOT        float64 `json:"hot"`            // share of the updates
}

// keepalive touches all rows several times between two checkpoints, in chunks of random ids that are all due.
// The first pass pays for the full-page images that follow a checkpoint. A table with a btree on expires_at
// takes turns with ours, and one UPDATE for each request follows.
func (b *bench) keepalive(ctx context.Context) (err error) {
	d, err := b.servers.database(ctx, "keepalive")
	if err != nil {
		return err
	}
	defer d.close()
	// No checkpoint may come in between, because the server would then write every image again.
	undo, err := d.alterSystem(ctx, map[string]string{"checkpoint_timeout": "1h", "max_wal_size": "64GB"})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, undo()) }()
	b.say("keepalive: loading %d due sessions, twice", b.keepaliveRows)
	if err := d.seedSessions(ctx, b.keepaliveRows, dueExpiry); err != nil {
		return err
	}
	if err := d.exec(ctx,
		// The scenario vacuums between the passes instead, because autovacuum's WAL would count with some
		// chunk.
		`CREATE TABLE indexed_session (LIKE sessionsql.session INCLUDING ALL)
			WITH (fillfactor = 70, autovacuum_enabled = off)`,
		"INSERT INTO indexed_session OVERRIDING SYSTEM VALUE SELECT * FROM sessionsql.session",
		"CREATE INDEX ON indexed_session (expires_at)",
		"VACUUM (ANALYZE) indexed_session",
		"CHECKPOINT"); err != nil {
		return err
	}
	conn, err := d.pool.Conn(ctx) // the statistics of one connection are available at once
	if err != nil {
		return err
	}
	defer conn.Close()
	begin, err := lastCheckpoint(ctx, conn)
	if err != nil {
		return err
	}

	queries := db.New()
	ours := &toucher{
		bench: b, conn: conn, table: "sessionsql.session", name: "touch_batch",
		touch: func(ctx context.Context, ids pgtext.IDs) (int64, error) {
			return queries.TouchBatch(ctx, conn, ids)
		},
	}
	indexed := &toucher{
		bench: b, conn: conn, table: "indexed_session", name: "btree on expires_at",
		touch: func(ctx context.Context, ids pgtext.IDs) (int64, error) {
			done, err := conn.ExecContext(ctx, `
				UPDATE indexed_session SET expires_at = statement_timestamp() + interval '40 minutes'
				WHERE id = ANY ($1::bigint[])`, ids)
			if err != nil {
				return 0, err
			}
			return done.RowsAffected()
		},
	}
	touchers := []*toucher{ours, indexed}
	for number := range b.keepalivePasses {
		if number > 0 {
			if err := b.ageSessions(ctx, d); err != nil {
				return fmt.Errorf("keepalive: %w", err)
			}
			if b.late() {
				// Ours goes on, because its WAL is the mean over all passes.
				touchers = touchers[:1]
			}
		}
		b.say("keepalive: pass %d of %d, in chunks of %d", number+1, b.keepalivePasses, b.keepaliveChunk)
		if err := b.keepalivePass(ctx, touchers); err != nil {
			return fmt.Errorf("keepalive: %w", err)
		}
	}
	end, err := lastCheckpoint(ctx, conn)
	if err != nil {
		return err
	}
	between := "no checkpoint came"
	if end != begin {
		between = "a checkpoint came, after which pages had their images again,"
	}
	b.report.Notes = append(b.report.Notes, fmt.Sprintf(
		"keepalive: %s between its %d passes, for which checkpoint_timeout and max_wal_size were raised",
		between, b.keepalivePasses))
	batch := ours.result()
	single, err := b.updatePerRequest(ctx, d, conn)
	if err != nil {
		return fmt.Errorf("keepalive: %w", err)
	}
	b.report.Keepalive = []Keepalive{batch, indexed.result(), single}
	b.report.Ratios["keepalive_hot"] = batch.HOT
	b.report.Ratios["keepalive_cpu_us"] = batch.CPU
	b.report.Ratios["keepalive_wal_bytes"] = batch.WAL
	return nil
}

// lastCheckpoint returns the WAL position where the last checkpoint began.
func lastCheckpoint(ctx context.Context, conn *sql.Conn) (position string, err error) {
	err = conn.QueryRowContext(ctx, "SELECT redo_lsn::text FROM pg_control_checkpoint()").Scan(&position)
	return position, err
}

// ageSessions makes all sessions due again without measuring, because each page has had its image by then. It
// works in chunks too, because one statement over all rows would find no room on their pages and spread the
// table out.
func (b *bench) ageSessions(ctx context.Context, d *database) error {
	for chunk := range slices.Chunk(randomIDs(b.keepaliveRows), b.keepaliveChunk) {
		_, err := d.pool.ExecContext(ctx,
			"UPDATE sessionsql.session SET expires_at = "+dueExpiry+" WHERE id = ANY ($1::bigint[])", chunk)
		if err != nil {
			return err
		}
	}
	return d.exec(ctx, "VACUUM indexed_session") // as autovacuum would
}

// keepalivePass touches all rows once.
func (b *bench) keepalivePass(ctx context.Context, touchers []*toucher) error {
	for _, each := range touchers {
		each.passes = append(each.passes, passCost{})
	}
	for chunk := range slices.Chunk(randomIDs(b.keepaliveRows), b.keepaliveChunk) {
		for _, each := range touchers {
			if err := each.chunk(ctx, chunk); err != nil {
				return fmt.Errorf("%s: %w", each.name, err)
			}
		}
	}
	return nil
}

// A toucher touches one table in chunks and adds up the cost.
type toucher struct {
	*bench
	conn  *sql.Conn
	table string
	name  string
	touch func(context.Context, pgtext.IDs) (int64, error)

	cpu, time []float64 // for a row, by chunk
	passes    []passCost
}

// A passCost is the cost of a pass so far.
type passCost struct {
	rows  int
	spent tableCost
}

func (p passCost) wal() float64 { return p.spent.wal / float64(p.rows) }

func (t *toucher) chunk(ctx context.Context, ids pgtext.IDs) error {
	before, err := t.costSoFar(ctx)
	if err != nil {
		return err
	}
	begin := time.Now()
	touched, err := t.touch(ctx, ids)
	if err != nil {
		return err
	}
	took := time.Since(begin)
	after, err := t.costSoFar(ctx)
	if err != nil {
		return err
	}
	if touched != int64(len(ids)) {
		return fmt.Errorf("%d of %d rows were written", touched, len(ids))
	}
	spent := after.minus(before)
	perRow := func(d time.Duration) float64 { return d.Seconds() * 1e6 / float64(len(ids)) }
	t.cpu = append(t.cpu, perRow(spent.cpu))
	t.time = append(t.time, perRow(took))
	pass := &t.passes[len(t.passes)-1]
	pass.rows += len(ids)
	pass.spent = pass.spent.plus(spent)
	return nil
}

func (t *toucher) costSoFar(ctx context.Context) (tableCost, error) {
	return readTableCost(ctx, t.conn, t.table, t.servers.postgresMeter())
}

func (t *toucher) result() Keepalive {
	var all passCost
	for _, each := range t.passes {
		all.rows += each.rows
		all.spent = all.spent.plus(each.spent)
	}
	result := Keepalive{
		Contestant: t.name,
		Rows:       all.rows,
		CPU:        median(t.cpu),
		Time:       median(t.time),
		WAL:        all.wal(),
		FirstPass:  t.passes[0].wal(),
		HOT:        all.spent.hot / all.spent.updates,
	}
	if last := len(t.passes) - 1; last > 0 {
		result.LastPass = t.passes[last].wal()
	}
	return result
}

// updatePerRequest runs one UPDATE with its own commit for each request. No checkpoint precedes it, because
// it touches too few rows to spread the images over.
func (b *bench) updatePerRequest(ctx context.Context, d *database, conn *sql.Conn) (Keepalive, error) {
	update := contestant{
		name: "UPDATE at every request",
		cpu:  b.servers.postgresMeter(),
		op: func(ctx context.Context, c *caller) error {
			_, err := d.pool.ExecContext(ctx,
				"UPDATE sessionsql.session SET expires_at = now() + interval '40 minutes' WHERE id = $1",
				1+c.rng.IntN(b.keepaliveRows))
			return err
		},
	}
	before, err := readTableCost(ctx, conn, "sessionsql.session", update.cpu)
	if err != nil {
		return Keepalive{}, err
	}
	sample, err := run(ctx, update, turn{callers: ratioCallers, slice: time.Minute, ops: b.keepaliveSingle})
	if err != nil {
		return Keepalive{}, err
	}
	if err := reportStatistics(ctx, d.pool); err != nil {
		return Keepalive{}, err
	}
	after, err := readTableCost(ctx, conn, "sessionsql.session", update.cpu)
	if err != nil {
		return Keepalive{}, err
	}
	spent := after.minus(before)
	wal := spent.wal / float64(sample.Ops)
	return Keepalive{
		Contestant: update.name,
		Rows:       int(sample.Ops),
		CPU:        sample.CPU(),
		Time:       1e6 / sample.OpsPerS,
		WAL:        wal,
		LastPass:   wal,
		HOT:        spent.hot / max(spent.updates, 1),
	}, nil
}

// reportStatistics makes all idle connections of a pool report their statistics, which they would otherwise
// do later.
func reportStatistics(ctx context.Context, pool *sql.DB) error {
	var conns []*sql.Conn
	defer func() {
		for _, each := range conns {
			_ = each.Close()
		}
	}()
	for range pool.Stats().Idle {
		conn, err := pool.Conn(ctx)
		if err != nil {
			return err
		}
		conns = append(conns, conn)
		if _, err := conn.ExecContext(ctx, "SELECT pg_stat_force_next_flush()"); err != nil {
			return err
		}
	}
	return nil
}

// A tableCost is the cost on a table so far.
type tableCost struct {
	cpu          time.Duration
	wal          float64 // bytes
	updates, hot float64
}

func (c tableCost) minus(o tableCost) tableCost {
	return tableCost{c.cpu - o.cpu, c.wal - o.wal, c.updates - o.updates, c.hot - o.hot}
}

func (c tableCost) plus(o tableCost) tableCost {
	return tableCost{c.cpu + o.cpu, c.wal + o.wal, c.updates + o.updates, c.hot + o.hot}
}

func readTableCost(ctx context.Context, conn *sql.Conn, table string, m meter) (tableCost, error) {
	var cost tableCost
	if _, err := conn.ExecContext(ctx, "SELECT pg_stat_force_next_flush()"); err != nil {
		return cost, err
	}
	err := conn.QueryRowContext(ctx, `
		SELECT pg_current_wal_insert_lsn() - '0/0', pg_stat_get_tuples_updated($1::regclass),
			pg_stat_get_tuples_hot_updated($1::regclass)`,
		table).Scan(&cost.wal, &cost.updates, &cost.hot)
	if err != nil {
		return cost, err
	}
	server, err := m.used()
	if err != nil {
		return cost, err
	}
	client, err := clientUsed()
	cost.cpu = server + client
	return cost, err
}

// randomIDs returns 1 to n in random order.
func randomIDs(n int) pgtext.IDs {
	ids := make(pgtext.IDs, n)
	for i, each := range rand.Perm(n) {
		ids[i] = int64(each) + 1
	}
	return ids
}
