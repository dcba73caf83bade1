package main

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"os"
	"sync/atomic"
	"syscall"

	"github.com/sessionsql/postgres/internal/pgcluster"
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
			b.note("scale: no standby at %d rows, because two servers need %d GiB of disk", rows, 2*bytes>>30)
		}
		if copies*bytes > free {
			b.note("scale: %d rows were left out, because they need %d GiB of disk", rows, bytes>>30)
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
func (b *bench) scaleAt(ctx context.Context, rows, replicas int) error {
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
