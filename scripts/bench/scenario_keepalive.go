package main

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/sessionsql/postgres/db"
	"github.com/sessionsql/postgres/internal/pgtext"
)

// A Keepalive is what moving the expiry of sessions costs one way.
type Keepalive struct {
	Contestant string  `json:"contestant"`
	Rows       int     `json:"rows"`        // rows written
	CPU        float64 `json:"cpu_us"`      // a row: client and server, median over the chunks
	Time       float64 `json:"time_us"`     // a row, median over the chunks
	WAL        float64 `json:"wal_bytes"`   // a row, over the whole pass
	Records    float64 `json:"wal_records"` // bytes a row without full-page images: the chunk that had the fewest
	HOT        float64 `json:"hot"`         // share of updates
}

// keepalive is a pass over all rows of a table, all of them due, in chunks of random ids, right after a checkpoint: the full-page
// images that the first write to each page after a checkpoint costs are all in it. Beside it, in turns, the same on a
// table with a btree on expires_at, and after them one UPDATE a request.
func (b *bench) keepalive(ctx context.Context) error {
	d, err := b.servers.database(ctx, "keepalive")
	if err != nil {
		return err
	}
	defer d.close()
	b.say("keepalive: loading %d due sessions, twice", b.keepaliveRows)
	if err := d.seedSessions(ctx, b.keepaliveRows, dueExpiry); err != nil {
		return err
	}
	if err := d.exec(ctx,
		"CREATE TABLE indexed_session (LIKE sessionsql.session INCLUDING ALL) WITH (fillfactor = 70)",
		"INSERT INTO indexed_session OVERRIDING SYSTEM VALUE SELECT * FROM sessionsql.session",
		"CREATE INDEX ON indexed_session (expires_at)",
		"VACUUM (ANALYZE) indexed_session",
		"CHECKPOINT"); err != nil {
		return err
	}
	conn, err := d.pool.Conn(ctx) // one connection, whose statistics can be asked for at once
	if err != nil {
		return err
	}
	defer conn.Close()

	queries := db.New()
	ours := &pass{
		bench: b, conn: conn, table: "sessionsql.session", name: "touch_batch",
		touch: func(ctx context.Context, ids pgtext.IDs) (int64, error) { return queries.TouchBatch(ctx, conn, ids) },
	}
	indexed := &pass{
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
	ids := randomIDs(b.keepaliveRows)
	b.say("keepalive: a pass in chunks of %d", b.keepaliveChunk)
	for from := 0; from < len(ids); from += b.keepaliveChunk {
		if from > len(ids)/2 && b.late() {
			break
		}
		chunk := ids[from:min(from+b.keepaliveChunk, len(ids))]
		for _, each := range []*pass{ours, indexed} {
			if err := each.chunk(ctx, chunk); err != nil {
				return fmt.Errorf("keepalive: %s: %w", each.name, err)
			}
		}
	}
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

// A pass touches one table chunk by chunk and adds up what that took.
type pass struct {
	*bench
	conn  *sql.Conn
	table string
	name  string
	touch func(context.Context, pgtext.IDs) (int64, error)

	rows               int
	cpu, time, records []float64 // a row, of each chunk
	spent              tableCost
}

func (p *pass) chunk(ctx context.Context, ids pgtext.IDs) error {
	before, err := p.costSoFar(ctx)
	if err != nil {
		return err
	}
	begin := time.Now()
	touched, err := p.touch(ctx, ids)
	if err != nil {
		return err
	}
	took := time.Since(begin)
	after, err := p.costSoFar(ctx)
	if err != nil {
		return err
	}
	if touched != int64(len(ids)) {
		return fmt.Errorf("%d of %d rows were written", touched, len(ids))
	}
	spent := after.minus(before)
	perRow := func(v float64) float64 { return v / float64(len(ids)) }
	p.rows += len(ids)
	p.cpu = append(p.cpu, perRow(spent.cpu.Seconds()*1e6))
	p.time = append(p.time, perRow(took.Seconds()*1e6))
	p.records = append(p.records, perRow(spent.wal))
	p.spent = p.spent.plus(spent)
	return nil
}

func (p *pass) costSoFar(ctx context.Context) (tableCost, error) {
	return readTableCost(ctx, p.conn, p.table, p.servers.postgresMeter())
}

func (p *pass) result() Keepalive {
	fewest := math.Inf(1)
	for _, each := range p.records {
		fewest = min(fewest, each)
	}
	return Keepalive{
		Contestant: p.name,
		Rows:       p.rows,
		CPU:        median(p.cpu),
		Time:       median(p.time),
		WAL:        p.spent.wal / float64(p.rows),
		Records:    fewest,
		HOT:        p.spent.hot / p.spent.updates,
	}
}

// updatePerRequest is one UPDATE, with its own commit, at every request.
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
	if err := d.exec(ctx, "CHECKPOINT"); err != nil {
		return Keepalive{}, err
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
	return Keepalive{
		Contestant: update.name,
		Rows:       int(sample.Ops),
		CPU:        sample.CPU(),
		Time:       1e6 / sample.OpsPerS,
		WAL:        spent.wal / float64(sample.Ops),
		HOT:        spent.hot / max(spent.updates, 1),
	}, nil
}

// reportStatistics makes all idle connections of a pool report what they did, which they would do in their own time.
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

// A tableCost is what has been spent on a table so far.
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
		SELECT pg_current_wal_insert_lsn() - '0/0', pg_stat_get_tuples_updated($1::regclass), pg_stat_get_tuples_hot_updated($1::regclass)`,
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
