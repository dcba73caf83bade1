package sessionsql_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// A cost is the work of one call, in counts instead of time.
type cost struct {
	seqScans int64   // scans of the whole table
	fetched  int64   // rows found by an index
	blocks   float64 // pages read, from memory too
	handled  float64 // rows that the plans inside the function returned or discarded; 0 without auto_explain
	arrays   int     // plan nodes that search a whole array for each row
}

// A meter is a connection that counts the cost of its calls. It reads the plans inside functions where the
// server has auto_explain, because comparing rows in memory reads no page. The statement_timeout ends a call
// that would take too long.
type meter struct {
	t        *testing.T
	conn     *pgx.Conn
	explains bool
	plans    []string
}

func newMeter(t *testing.T, d *database, planCacheMode string) *meter {
	t.Helper()
	m := &meter{t: t}
	config, err := pgx.ParseConfig(d.PrimaryDSN())
	must(t, err)
	config.RuntimeParams["statement_timeout"] = "60s"
	config.RuntimeParams["plan_cache_mode"] = planCacheMode
	config.OnNotice = func(_ *pgconn.PgConn, notice *pgconn.Notice) {
		if _, plan, found := strings.Cut(notice.Message, "plan:\n"); found {
			m.plans = append(m.plans, plan)
		}
	}
	m.conn, err = pgx.ConnectConfig(t.Context(), config)
	must(t, err)
	t.Cleanup(func() { _ = m.conn.Close(context.Background()) })
	_, err = m.conn.Exec(t.Context(), `LOAD 'auto_explain';
		SET auto_explain.log_nested_statements = on; SET auto_explain.log_analyze = on;
		SET auto_explain.log_level = notice; SET auto_explain.log_format = json;
		SET auto_explain.log_timing = off`)
	if m.explains = err == nil; !m.explains {
		t.Logf("the test does not see the plans inside functions: %v", err)
	}
	return m
}

func (m *meter) begin() pgx.Tx {
	m.t.Helper()
	tx, err := m.conn.Begin(m.t.Context())
	must(m.t, err)
	return tx
}

// prime makes the connection cache its plans, generic ones included, and leaves no row.
func (m *meter) prime() {
	m.t.Helper()
	for range 10 {
		tx := m.begin()
		for _, statement := range []string{
			`SELECT sessionsql.insert(sha256('1'), 'p', subject => 's', max_sessions => 1)
				FROM generate_series(1, 3)`,
			"SELECT sessionsql.insert(sha256('2'), 'p')",
			"SELECT sessionsql.rotate(lastval(), sha256('2'), sha256('3'), '0', 's', 1)",
			`SELECT sessionsql.update_payload_batch(
				ARRAY[lastval()], ARRAY[sha256('3')], '{q}', '{NULL}')`,
			"SELECT sessionsql.revoke_batch(ARRAY[lastval()], ARRAY[sha256('none')])",
			"SELECT sessionsql.revoke_subject('s')",
		} {
			_, err := tx.Exec(m.t.Context(), statement)
			must(m.t, err)
		}
		must(m.t, tx.Rollback(m.t.Context()))
	}
}

// A planNode is one node in the output of EXPLAIN.
type planNode struct {
	Rows      float64 `json:"Actual Rows"` // the mean over all loops, like the next three
	Filtered  float64 `json:"Rows Removed by Filter"`
	Unjoined  float64 `json:"Rows Removed by Join Filter"`
	Rechecked float64 `json:"Rows Removed by Index Recheck"`
	Loops     float64 `json:"Actual Loops"`
	Hit       float64 `json:"Shared Hit Blocks"`
	Read      float64 `json:"Shared Read Blocks"`
	Filter    string
	Join      string `json:"Join Filter"`
	Index     string `json:"Index Cond"`
	Plans     []planNode
}

// addTo adds the work of a node and of the nodes below it to a cost.
func (n planNode) addTo(c *cost) {
	c.handled += n.Loops * (n.Rows + n.Filtered + n.Unjoined + n.Rechecked)
	if strings.Contains(n.Filter+n.Join, "ANY (") || n.Loops > 1 && strings.Contains(n.Index, "ANY (") {
		c.arrays++
	}
	for _, each := range n.Plans {
		each.addTo(c)
	}
}

// measure runs a statement, rolls it back, and returns its cost.
func (m *meter) measure(statement string, args ...any) (c cost) {
	t := m.t
	t.Helper()
	tx := m.begin()
	defer func() { must(t, tx.Rollback(t.Context())) }()
	explain := func(minDuration string) {
		if m.explains {
			_, err := tx.Exec(t.Context(), "SET LOCAL auto_explain.log_min_duration = "+minDuration)
			must(t, err)
		}
	}
	count := func() (seqScans, fetched int64) {
		must(t, tx.QueryRow(t.Context(), `SELECT seq_scan, idx_tup_fetch FROM pg_stat_xact_user_tables
			WHERE schemaname = 'sessionsql' AND relname = 'session'`).Scan(&seqScans, &fetched))
		return seqScans, fetched
	}
	seqScansBefore, fetchedBefore := count()
	explain("0")
	m.plans = nil
	var text string
	statement = "EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) " + statement
	must(t, tx.QueryRow(t.Context(), statement, args...).Scan(&text))
	plans := m.plans
	explain("-1")
	seqScans, fetched := count()
	c.seqScans, c.fetched = seqScans-seqScansBefore, fetched-fetchedBefore

	var explained []struct{ Plan planNode }
	must(t, json.Unmarshal([]byte(text), &explained))
	c.blocks = explained[0].Plan.Hit + explained[0].Plan.Read
	for _, text := range plans {
		var nested struct{ Plan planNode }
		must(t, json.Unmarshal([]byte(text), &nested))
		nested.Plan.addTo(&c)
	}
	return c
}

// linear checks that a call's cost for 4 n rows is in proportion to its cost for n rows.
func (m *meter) linear(name string, n int, few, many cost) {
	m.t.Helper()
	m.t.Logf("%s: %d rows cost %+v, %d rows %+v", name, n, few, 4*n, many)
	const fetchedPerRow, blocksPerRow, handledPerRow = 4, 25, 15
	for rows, c := range map[int]cost{n: few, 4 * n: many} {
		switch per := float64(rows); {
		case c.seqScans != 0:
			m.t.Errorf("%s: %d rows: the table was scanned %d times", name, rows, c.seqScans)
		case c.arrays != 0:
			m.t.Errorf("%s: %d rows: the plan searches a whole array for each row", name, rows)
		case float64(c.fetched) < per, c.blocks < per, m.explains && c.handled < per:
			m.t.Errorf("%s: %d rows: %+v, so this test proves nothing", name, rows, c)
		case float64(c.fetched) > fetchedPerRow*per, c.blocks > blocksPerRow*per,
			c.handled > handledPerRow*per:
			m.t.Errorf("%s: %d rows: %+v is too much for a row", name, rows, c)
		}
	}
	for what, each := range map[string][2]float64{
		"rows fetched": {float64(few.fetched), float64(many.fetched)},
		"pages":        {few.blocks, many.blocks},
		"rows handled": {few.handled, many.handled},
	} {
		if each[1] > 6*each[0] {
			m.t.Errorf("%s: %s: %v for %d rows and %v for %d", name, what, each[0], n, each[1], 4*n)
		}
	}
}

const (
	fewRows   = 5_000  // sessions of the subject few
	manyRows  = 20_000 // sessions of the subject many
	otherRows = 50_000
)

// linearCalls checks every call that ends or writes many sessions, after fillFewAndMany.
func (m *meter) linearCalls(state string) {
	t := m.t
	t.Helper()
	var anonymous int64
	find := "SELECT s.id FROM sessionsql.session AS s WHERE s.subject IS NULL"
	must(t, m.conn.QueryRow(t.Context(), find).Scan(&anonymous))
	for name, call := range map[string]func(subject string) cost{
		"revoke_subject": func(subject string) cost {
			return m.measure("SELECT sessionsql.revoke_subject($1)", subject)
		},
		"revoke_subject, keeping one": func(subject string) cost {
			return m.measure("SELECT sessionsql.revoke_subject($1, $2::bigint)", subject, anonymous)
		},
		"insert with a cap": func(subject string) cost {
			return m.measure("SELECT sessionsql.insert(sha256('2'), 'p', subject => $1, max_sessions => 1)",
				subject)
		},
		"rotate with a cap": func(subject string) cost {
			return m.measure("SELECT sessionsql.rotate($2, sha256('1'), sha256('2'), '0', $1, 1)",
				subject, anonymous)
		},
	} {
		m.linear(state+": "+name, fewRows, call("few"), call("many"))
	}

	const written = 1_000
	batch := func(call string, n int) cost {
		rows, err := m.conn.Query(t.Context(), `SELECT s.id, s.secret_hash
			FROM sessionsql.session AS s WHERE s.subject = 'many' ORDER BY s.id LIMIT $1`, n)
		must(t, err)
		var ids []int64
		var hashes [][]byte
		var id int64
		var hash []byte
		_, err = pgx.ForEachRow(rows, []any{&id, &hash}, func() error {
			ids, hashes = append(ids, id), append(hashes, hash)
			hash = nil
			return nil
		})
		must(t, err)
		return m.measure("SELECT sessionsql."+call+" WHERE $3 > 0", ids, hashes, n)
	}
	for _, call := range []string{
		"update_payload_batch($1, $2, array_fill('q'::text, ARRAY[$3::integer]), ARRAY[NULL::integer])",
		"revoke_batch($1, $2)",
	} {
		m.linear(state+": "+call, written, batch(call, written), batch(call, 4*written))
	}
}

// fillOthers makes one session for each of many other subjects.
func (d *database) fillOthers() {
	d.primary.MustExec(`
		INSERT INTO sessionsql.session (
		  expires_at, created_at, idle_seconds, version, secret_hash, subject, payload
		)
		SELECT now() + interval '1 hour', now(), 1800, 1, sha256(n::text::bytea), 'other' || n,
		  repeat('x', 200)
		FROM generate_series(1, $1) AS n`, otherRows)
}

// fillFewAndMany makes the sessions of few and many in mixed order, and an anonymous one with secret '1'.
func (d *database) fillFewAndMany() {
	d.primary.MustExec(`
		INSERT INTO sessionsql.session (
		  expires_at, created_at, idle_seconds, version, secret_hash, subject, payload
		)
		SELECT now() + interval '1 hour', now(), 1800, 1, sha256(n::text::bytea),
		  CASE WHEN n > $1 + 1 THEN 'many' WHEN n > 1 THEN 'few' END, repeat('x', 200)
		FROM generate_series(1, 1 + $1 + $2) AS n
		ORDER BY md5(n::text)`, fewRows, manyRows)
}

// unvacuumed makes a database without autovacuum, so that only the test makes statistics.
func unvacuumed(t *testing.T) *database {
	t.Helper()
	d := newDatabase(t)
	d.primary.MustExec("ALTER TABLE sessionsql.session SET (autovacuum_enabled = off)")
	return d
}

func TestEndingOrWritingManySessionsIsLinear(t *testing.T) {
	d := unvacuumed(t)
	meters := map[string]*meter{}
	for _, mode := range []string{"auto", "force_generic_plan"} {
		meters[mode] = newMeter(t, d, mode)
		meters[mode].prime() // the table is still empty
	}
	d.fillOthers()
	d.fillFewAndMany()
	for mode, m := range meters {
		m.linearCalls("never analyzed, " + mode)
	}
	d.primary.MustExec("ANALYZE sessionsql.session")
	for mode, m := range meters {
		m.linearCalls("analyzed, " + mode)
	}
}

// Old statistics make the planner expect one session for a subject that has many.
func TestEndingOrWritingManySessionsIsLinearAgainstOldStatistics(t *testing.T) {
	d := unvacuumed(t)
	d.fillOthers()
	d.primary.MustExec("ANALYZE sessionsql.session")
	d.fillFewAndMany()
	for _, mode := range []string{"auto", "force_generic_plan"} {
		newMeter(t, d, mode).linearCalls("analyzed before, " + mode)
	}
}
