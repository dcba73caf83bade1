package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sessionsql/postgres/db"
	"github.com/sessionsql/postgres/internal/pgcluster"
	"github.com/sessionsql/postgres/internal/pgtext"
	"github.com/sessionsql/postgres/sessionsql"
)

// A Scale is the cost of a verb on a table of a number of rows.
type Scale struct {
	Verb string `json:"verb"`
	Rows int    `json:"rows"`
	Ops  int    `json:"ops"` // in each round

	// AfterCheckpoint is the worst case, in which nearly each change is the first one of its page since a
	// checkpoint, so that the WAL has an image of the page.
	AfterCheckpoint Cost `json:"after_checkpoint"`
	Between         Cost `json:"between_checkpoints"` // without any images
}

// A Cost is that of one operation, the median over the rounds. The CPU is in microseconds.
type Cost struct {
	CPU     float64 `json:"cpu_us"`     // of the primary without Sending
	Sending float64 `json:"sending_us"` // of the primary's process that sends WAL to the standby
	Replay  float64 `json:"replay_us"`  // of the standby's process that replays WAL
	WAL     float64 `json:"wal_bytes"`
	Records float64 `json:"wal_records"`
}

// A Vacuum is one pass over the sessions, a hundredth of which has died. Its cost is that of a dead row.
type Vacuum struct {
	Rows       int     `json:"rows"`
	Dead       int     `json:"dead"`
	Throttled  bool    `json:"throttled"` // as autovacuum is, by the server's defaults
	Seconds    float64 `json:"seconds"`
	IndexScans int     `json:"index_scans"`
	Dirtied    int     `json:"dirtied_pages"`
	Cost       Cost    `json:"cost"`
}

const (
	scaleCallers = 256

	// Each verb has sessions of its own, one in this many, so that none meets what another one ended. They
	// lie on the same pages, so that a change meets a dead row there, as in a table that is in use.
	scaleClasses = 20

	// scalePrime scatters the order of the sessions, because it divides no number of rows in use here.
	scalePrime = 7_368_787
)

// scale measures what verbs cost the primary and a standby as the table grows, on a cluster of its own for
// each size.
func (b *bench) scale(ctx context.Context) error {
	for _, rows := range b.scaleSizes {
		// A session takes 547 bytes and its index 23, an entry 400 and its index 50. The WAL takes 8 GiB.
		bytes, copies := rows*570+8<<30, 2
		if rows <= b.scaleCacheRows {
			bytes += rows * 450
		}
		free, err := freeBytes(os.TempDir())
		if err != nil {
			return err
		}
		if copies*bytes > free {
			copies = 1
			b.note("scale: no standby at %d rows, because two servers need %d GB of disk", rows, 2*bytes>>30)
		}
		if copies*bytes > free {
			b.note("scale: %d rows were left out, because they need %d GB of disk", rows, bytes>>30)
			continue
		}
		if err := b.scaleAt(ctx, rows, copies-1); err != nil {
			return fmt.Errorf("scale: %d rows: %w", rows, err)
		}
	}
	return nil
}

func (b *bench) note(format string, args ...any) {
	b.report.Notes = append(b.report.Notes, fmt.Sprintf(format, args...))
}

func freeBytes(folder string) (int, error) {
	var stat syscall.Statfs_t
	if err := syscall.Statfs(folder, &stat); err != nil {
		return 0, fmt.Errorf("free space of %s: %w", folder, err)
	}
	return int(stat.Bavail) * int(stat.Bsize), nil
}

// scaleAt measures all verbs on a table of one size.
func (b *bench) scaleAt(ctx context.Context, rows, replicas int) (err error) {
	settings := maps.Clone(postgresSettings)
	maps.Copy(settings, map[string]string{
		"fsync":      "off", // until the tables are full
		"autovacuum": "off", // because its cost would count with some verb
	})
	cluster, err := pgcluster.Start(ctx,
		&pgcluster.Options{Replicas: replicas, Settings: settings, Log: b.progress})
	if err != nil {
		return err
	}
	s := &servers{cluster: cluster}
	defer s.close()
	d, err := s.database(ctx, "scale")
	if err != nil {
		return err
	}
	defer d.pool.Close()
	t := &scaleTable{bench: b, db: d, rows: rows}
	if err := t.findProcesses(); err != nil {
		return err
	}
	if t.standby != nil {
		defer t.standby.Close()
	}
	if err := t.fill(ctx); err != nil {
		return err
	}
	if t.store, err = sessionsql.Open(ctx, d.dsn, nil, quiet); err != nil {
		return err
	}
	defer t.store.Close(context.WithoutCancel(ctx))
	t.cache = t.store.Cache("bench", nil)
	// No checkpoint comes by itself then, because pages would have images again.
	measured := map[string]string{"checkpoint_timeout": "1h", "max_wal_size": "16GB"}
	if b.mode != "smoke" {
		measured["fsync"] = "on"
	}
	if _, err := d.alterSystem(ctx, measured); err != nil {
		return err
	}
	return t.measureAll(ctx)
}

// A scaleTable holds the tables of one size and the processes whose CPU time counts.
type scaleTable struct {
	*bench
	db    *database
	rows  int
	store *sessionsql.Store
	cache *sessionsql.Cache
	used  [scaleClasses]atomic.Int64 // the sessions of each class that were drawn

	standby                 *sql.DB // nil without one
	primary, sender, replay meter
}

// fill makes the sessions, of which the last class has expired, and the entries.
func (t *scaleTable) fill(ctx context.Context) error {
	t.say("scale: loading %d sessions", t.rows)
	expiry := fmt.Sprintf("now() + CASE g %% %d WHEN 0 THEN interval '-1 hour' ELSE interval '1 day' END",
		scaleClasses)
	if err := t.db.seedSessions(ctx, t.rows, expiry); err != nil {
		return err
	}
	if t.rows > t.scaleCacheRows {
		return nil
	}
	t.say("scale: loading %d entries", t.rows)
	// The key is that of sessionsql.cache_key, which would take longer than the rest.
	err := t.db.load(ctx, t.rows, `
		INSERT INTO sessionsql.cache_entry (key, expires_at, space, value)
		SELECT
		  encode(substr(sha256(int4send(s.id) || sha256(`+slotKeySQL+`::bytea)), 1, 16), 'hex')::uuid,
		  now() + interval '1 hour', s.id, '`+cacheValue+`'
		FROM sessionsql.cache_space_id('bench') AS s (id) CROSS JOIN`, "true")
	if err != nil {
		return err
	}
	return t.db.exec(ctx, "VACUUM (ANALYZE) sessionsql.cache_entry")
}

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

// measureAll adds all costs to the report: first those after a checkpoint, then those without images.
func (t *scaleTable) measureAll(ctx context.Context) error {
	if err := t.db.exec(ctx, "CREATE EXTENSION pg_walinspect"); err != nil {
		return err
	}
	// No session is drawn twice, because some verbs end it.
	ops, dead := min(t.scaleOps, t.rows/scaleClasses/(2*t.rounds)), t.rows/100
	var results []Scale
	for _, verb := range t.verbs() {
		results = append(results, Scale{Verb: verb.name, Rows: t.rows, Ops: ops})
	}
	results = append(results, Scale{Verb: "reap", Rows: t.rows, Ops: dead})
	for _, images := range []bool{true, false} {
		if !images {
			if _, err := t.db.alterSystem(ctx, map[string]string{"full_page_writes": "off"}); err != nil {
				return err
			}
			if err := t.db.exec(ctx, "CHECKPOINT"); err != nil { // because the checkpointer passes it on
				return err
			}
		}
		for i, verb := range t.verbs() {
			t.say("scale: %s, %d rounds of %d at %d rows", verb.name, t.rounds, ops, t.rows)
			var rounds []Cost
			for range t.rounds {
				cost, err := t.measure(ctx, verb, ops, images)
				if err != nil {
					return fmt.Errorf("%s: %w", verb.name, err)
				}
				rounds = append(rounds, cost)
			}
			*results[i].cost(images) = medianCost(rounds)
		}
		t.say("scale: reaping %d of %d rows", dead, t.rows)
		if err := t.db.exec(ctx, "VACUUM sessionsql.session"); err != nil { // of what the verbs left
			return err
		}
		cost, err := t.measure(ctx, scaleVerb{run: t.reap}, dead, images)
		if err != nil {
			return fmt.Errorf("reap: %w", err)
		}
		*results[len(results)-1].cost(images) = cost
		if err := t.vacuum(ctx, dead, images); err != nil {
			return fmt.Errorf("vacuum: %w", err)
		}
	}
	t.report.Scale = append(t.report.Scale, results...)
	return nil
}

func (s *Scale) cost(images bool) *Cost {
	if images {
		return &s.AfterCheckpoint
	}
	return &s.Between
}

func medianCost(rounds []Cost) Cost {
	of := func(pick func(Cost) float64) float64 { return medianOf(rounds, pick) }
	return Cost{
		CPU:     of(func(c Cost) float64 { return c.CPU }),
		Sending: of(func(c Cost) float64 { return c.Sending }),
		Replay:  of(func(c Cost) float64 { return c.Replay }),
		WAL:     of(func(c Cost) float64 { return c.WAL }),
		Records: of(func(c Cost) float64 { return c.Records }),
	}
}

// reap deletes a number of expired sessions, and those of a call more at most.
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

var (
	indexScans   = regexp.MustCompile(`index scans: (\d+)`)
	dirtiedPages = regexp.MustCompile(`(\d+) dirtied`)
)

// vacuum measures one pass over the sessions, with the pauses of autovacuum or without.
func (t *scaleTable) vacuum(ctx context.Context, dead int, throttled bool) error {
	t.say("scale: vacuum of %d rows, %s", t.rows, choose(throttled, "throttled", "not throttled"))
	config, err := pgx.ParseConfig(t.db.dsn)
	if err != nil {
		return err
	}
	var told strings.Builder
	config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { told.WriteString(n.Message) }
	config.RuntimeParams["vacuum_cost_delay"] = choose(throttled, "2ms", "0")
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	v := Vacuum{Rows: t.rows, Dead: dead, Throttled: throttled}
	v.Cost, err = t.measure(ctx, scaleVerb{run: func(ctx context.Context, _ int) error {
		begin := time.Now()
		_, err := conn.Exec(ctx, "VACUUM (VERBOSE) sessionsql.session")
		v.Seconds = time.Since(begin).Seconds()
		return err
	}}, dead, throttled)
	if err != nil {
		return err
	}
	// The table comes before its TOAST table.
	for into, pattern := range map[*int]*regexp.Regexp{&v.IndexScans: indexScans, &v.Dirtied: dirtiedPages} {
		found := pattern.FindStringSubmatch(told.String())
		if found == nil {
			return fmt.Errorf("VACUUM (VERBOSE) does not say %q", pattern)
		}
		if *into, err = strconv.Atoi(found[1]); err != nil {
			return err
		}
	}
	t.report.Vacuum = append(t.report.Vacuum, v)
	return nil
}

// measure returns the cost of one of so many operations, with images of pages or without.
func (t *scaleTable) measure(ctx context.Context, verb scaleVerb, ops int, images bool) (c Cost, err error) {
	if verb.prepare != nil {
		if err := verb.prepare(ctx, ops); err != nil {
			return c, err
		}
	}
	if images {
		if err := t.db.exec(ctx, "CHECKPOINT"); err != nil {
			return c, err
		}
	}
	before, err := t.spent(ctx)
	if err != nil {
		return c, err
	}
	if err := verb.run(ctx, ops); err != nil {
		return c, err
	}
	after, err := t.spent(ctx)
	if err != nil {
		return c, err
	}
	err = t.db.pool.QueryRowContext(ctx,
		"SELECT $2::pg_lsn - $1::pg_lsn, sum(s.count) FROM pg_get_wal_stats($1::pg_lsn, $2::pg_lsn) AS s",
		before.lsn, after.lsn).Scan(&c.WAL, &c.Records)
	each := func(d time.Duration) float64 { return d.Seconds() * 1e6 / float64(ops) }
	sending := after.sending - before.sending
	c.CPU, c.Sending = each(after.primary-before.primary-sending), each(sending)
	c.Replay = each(after.replay - before.replay)
	c.WAL, c.Records = c.WAL/float64(ops), c.Records/float64(ops)
	return c, err
}

// scaleSpent is the end of the WAL, and the CPU time of processes so far.
type scaleSpent struct {
	lsn                      string
	primary, sending, replay time.Duration
}

// spent waits until all WAL has reached the disk and was replayed.
func (t *scaleTable) spent(ctx context.Context) (s scaleSpent, err error) {
	if err := t.db.exec(ctx, "SELECT pg_logical_emit_message(true, '', '')"); err != nil {
		return s, err
	}
	err = t.db.pool.QueryRowContext(ctx, "SELECT pg_current_wal_flush_lsn()::text").Scan(&s.lsn)
	if err != nil {
		return s, err
	}
	for replayed := t.standby == nil; !replayed; {
		err := t.standby.QueryRowContext(ctx, "SELECT pg_last_wal_replay_lsn() >= $1::pg_lsn", s.lsn).
			Scan(&replayed)
		if err != nil {
			return s, err
		}
		if !replayed {
			time.Sleep(10 * time.Millisecond)
		}
	}
	for into, m := range map[*time.Duration]meter{
		&s.primary: t.primary, &s.sending: t.sender, &s.replay: t.replay,
	} {
		if *into, err = m.used(); err != nil {
			return s, err
		}
	}
	return s, nil
}

// findProcesses finds the processes whose CPU time counts.
func (t *scaleTable) findProcesses() (err error) {
	cluster := t.db.servers.cluster
	t.primary = meter{pids: []int{cluster.Primary.PID()}}
	if len(cluster.Replicas) == 0 {
		return nil
	}
	replica := cluster.Replicas[0]
	if t.standby, err = openPool(replica.DSN("postgres"), 1); err != nil {
		return err
	}
	if t.sender, err = childMeter(cluster.Primary.PID(), " walsender "); err != nil {
		return err
	}
	t.replay, err = childMeter(replica.PID(), " startup ")
	return err
}

// childMeter counts the child of a server whose title has a word.
func childMeter(server int, word string) (meter, error) {
	for _, pid := range children(server) {
		if strings.Contains(readFile(fmt.Sprintf("/proc/%d/cmdline", pid)), word) {
			return meter{pids: []int{pid}}, nil
		}
	}
	return meter{}, fmt.Errorf("no process of the server is called%s", word)
}
