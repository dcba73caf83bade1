package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// errBusy says that the lock was not to be had, or that the copy was not complete, in maxLock.
var errBusy = errors.New("the shards are busy")

const (
	// replication is the name of the publication and the subscription.
	replication = "sessionsql_reshard"

	// scanRows bounds the rows that one DELETE looks at, and deletePause is the pause after it, so that the
	// disks and the replicas keep up.
	scanRows    = 10000
	deletePause = 20 * time.Millisecond
)

// A pair is an old shard and the new one that gets the upper half of it.
type pair struct {
	*reshard
	shards   int // how many there will be
	from, to primary

	locked   *pgx.Conn // holds the lock of the old shard; nil without one
	complete bool      // in this run, the new shard got everything before the old one gave it up
}

func (p *pair) slot() string { return fmt.Sprintf("%s_%d_of_%d", replication, p.to.number, p.shards) }

// A state is how far the ownership of a pair has moved.
type state int

const (
	whole   state = iota // the old shard owns all of it
	half                 // the old shard has given the upper half up, and nobody owns that
	divided              // the new shard owns the upper half
)

// state returns an error if the servers own something else, because then they are not the ones to divide.
func (p *pair) state(ctx context.Context) (state, error) {
	from, err := p.from.owned(ctx)
	if err != nil {
		return 0, err
	}
	to, err := p.to.owned(ctx)
	if err != nil {
		return 0, err
	}
	owns := func(o owned, shards, shard int) bool { return o.Shards == shards && o.Shard == shard }
	fresh := to.Shards == 0 || owns(to, 1, 0) && to.Empty
	switch {
	case owns(from, p.shards/2, p.from.number) && fresh:
		return whole, nil
	case owns(from, p.shards, p.from.number) && to.Shards == 0:
		return half, nil
	case owns(from, p.shards, p.from.number) && owns(to, p.shards, p.to.number):
		return divided, nil
	}
	return 0, fmt.Errorf("shard %d owns shard %d of %d and shard %d owns shard %d of %d (-1 of 0 is none); "+
		"the first must be shard %d of %d and the second none, or empty",
		p.from.number, from.Shard, from.Shards, p.to.number, to.Shard, to.Shards, p.from.number, p.shards/2)
}

func (p *pair) check(ctx context.Context) error {
	state, err := p.state(ctx)
	if err != nil {
		return err
	}
	from, err := p.from.owned(ctx)
	if err != nil {
		return err
	}
	to, err := p.to.owned(ctx)
	switch {
	case err != nil:
		return err
	case from.Version != to.Version:
		return fmt.Errorf("shard %d holds bundle %s and shard %d holds %s: upgrade first",
			p.from.number, from.Version, p.to.number, to.Version)
	case from.WalLevel != "logical" && state != divided:
		return fmt.Errorf("shard %d has wal_level = %s: set it to logical and restart the server",
			p.from.number, from.WalLevel)
	case state == divided:
		return nil
	}
	subscribed, slot := false, false
	if subscribed, err = p.subscribed(ctx); err != nil {
		return err
	}
	err = p.from.with(ctx, func(conn *pgx.Conn) (err error) {
		slot, err = get[bool](ctx, conn,
			"SELECT EXISTS (SELECT FROM pg_replication_slots AS s WHERE s.slot_name = $1)", p.slot())
		return err
	})
	switch {
	case err != nil:
		return err
	case state == half && !(subscribed && slot):
		return fmt.Errorf("nobody owns the upper half of shard %d, and its replication is gone: "+
			"give it back by sessionsql.shard(%[2]d, %[1]d) there", p.from.number, p.shards/2)
	case subscribed && !slot:
		return fmt.Errorf("shard %d has lost the replication slot %s and changes with it, as in a failover: "+
			"drop the subscription %s of shard %d, truncate both tables there, and begin again",
			p.from.number, p.slot(), replication, p.to.number)
	case !subscribed && !to.Empty:
		return fmt.Errorf("shard %d has rows and no subscription %s: truncate both tables there, "+
			"if it was never in use", p.to.number, replication)
	}
	return nil
}

func (p *pair) subscribed(ctx context.Context) (subscribed bool, err error) {
	err = p.to.with(ctx, func(conn *pgx.Conn) (err error) {
		subscribed, err = get[bool](ctx, conn, `SELECT EXISTS (SELECT FROM pg_subscription AS s
			JOIN pg_database AS d ON d.oid = s.subdbid
			WHERE s.subname = $1 AND d.datname = current_database())`, replication)
		return err
	})
	return subscribed, err
}

// copy returns when the new shard has the rows of the upper half, and gets the changes.
func (p *pair) copy(ctx context.Context) error {
	if state, err := p.state(ctx); err != nil || state != whole {
		return err
	}
	p.say("shard %d: copying to shard %d", p.from.number, p.to.number)
	if err := p.publish(ctx); err != nil {
		return err
	}
	if err := p.subscribe(ctx); err != nil {
		return err
	}
	err := until(ctx, func() (copied bool, err error) {
		err = p.to.with(ctx, func(conn *pgx.Conn) (err error) {
			copied, err = get[bool](ctx, conn, `SELECT COALESCE(bool_and(r.srsubstate = 'r'), false)
				FROM pg_subscription_rel AS r
				JOIN pg_subscription AS s ON s.oid = r.srsubid
				JOIN pg_database AS d ON d.oid = s.subdbid
				WHERE s.subname = $1 AND d.datname = current_database()`, replication)
			return err
		})
		if err == nil && !copied {
			err = sleep(ctx, time.Second)
		}
		return copied, err
	})
	if err != nil {
		return err
	}
	p.say("shard %d: waiting until shard %d has the changes since", p.from.number, p.to.number)
	return p.catchUp(ctx)
}

// publish makes the publication and the slot, unless they are there. An unlogged table of entries stays where
// it is, because a crash may empty it anyway.
func (p *pair) publish(ctx context.Context) error {
	return p.from.with(ctx, func(conn *pgx.Conn) error {
		statement, err := get[string](ctx, conn, `SELECT format(
			'CREATE PUBLICATION %I FOR TABLE sessionsql.session WHERE ((id & %s) = %s)%s',
			$1::text, $2::integer, $3::integer,
			CASE WHEN c.relpersistence = 'p' THEN format(
			  ', sessionsql.cache_entry WHERE ((get_byte(uuid_send(key), 15) & %s) = %s)', $2, $3) END)
			FROM pg_class AS c WHERE c.oid = 'sessionsql.cache_entry'::regclass`,
			replication, p.shards-1, p.to.number)
		if err != nil {
			return err
		}
		_, err = conn.Exec(ctx, statement)
		var refused *pgconn.PgError
		if errors.As(err, &refused) && refused.Code == "42710" { // it is there
			err = nil
		}
		if err != nil {
			return err
		}
		// The slot comes first. A subscription that makes its own would wait for itself on one server.
		_, err = conn.Exec(ctx, `SELECT pg_create_logical_replication_slot($1::name, 'pgoutput')
			WHERE NOT EXISTS (SELECT FROM pg_replication_slots AS s WHERE s.slot_name = $1)`, p.slot())
		return err
	})
}

// subscribe makes the new shard own nothing and follow the old one.
func (p *pair) subscribe(ctx context.Context) error {
	subscribed, err := p.subscribed(ctx)
	if err != nil {
		return err
	}
	if subscribed {
		return p.to.exec(ctx, "ALTER SUBSCRIPTION "+replication+" ENABLE")
	}
	return p.to.with(ctx, func(conn *pgx.Conn) error {
		if _, err := conn.Exec(ctx, "SELECT sessionsql.shard($1, NULL)", p.shards); err != nil {
			return err
		}
		statement, err := get[string](ctx, conn, `SELECT format(
			'CREATE SUBSCRIPTION %1$I CONNECTION %2$L PUBLICATION %1$I
			 WITH (create_slot = false, slot_name = %3$L)',
			$1::text, $2::text, $3::text)`, replication, p.from.dsn, p.slot())
		if err == nil {
			_, err = conn.Exec(ctx, statement)
		}
		return err
	})
}

// catchUp returns when the new shard has everything that was committed on the old one before the call.
func (p *pair) catchUp(ctx context.Context) error {
	// The commit of a message waits for the disk, and so for all commits before it.
	const flush = "SELECT pg_logical_emit_message(true, 'sessionsql', '')"
	return p.from.with(ctx, func(from *pgx.Conn) error {
		position, err := get[string](ctx, from, "SELECT pg_current_wal_insert_lsn()::text")
		if err != nil {
			return err
		}
		return p.to.with(ctx, func(to *pgx.Conn) error {
			return until(ctx, func() (bool, error) {
				// Replication sends what is on the old shard's disk, and the position moves on with a message
				// when everything before is on the new one's. Neither waits for the WAL writers then.
				for _, conn := range []*pgx.Conn{to, from} {
					if _, err := conn.Exec(ctx, flush); err != nil {
						return false, err
					}
				}
				return get[bool](ctx, from, `SELECT COALESCE((
					SELECT r.replay_lsn >= $2::pg_lsn
					FROM pg_replication_slots AS s
					JOIN pg_stat_replication AS r ON r.pid = s.active_pid
					WHERE s.slot_name = $1), false)`, p.slot(), position)
			})
		})
	})
}

// lock keeps the writers of the old shard out, and gives the upper half up as soon as it is committed.
func (p *pair) lock(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, p.from.dsn)
	if err != nil {
		return fmt.Errorf("shard %d: %w", p.from.number, err)
	}
	p.locked = conn
	for _, statement := range []string{
		// If this program's machine is lost, the lock ends by itself.
		fmt.Sprintf("SET idle_in_transaction_session_timeout = %d", (2 * maxLock).Milliseconds()),
		"BEGIN",
		fmt.Sprintf("SELECT sessionsql.shard(%d, %d)", p.shards, p.from.number),
	} {
		_, err := conn.Exec(ctx, statement)
		var refused *pgconn.PgError
		if errors.As(err, &refused) && (refused.Code == "55P03" || refused.Code == "40P01") {
			return fmt.Errorf("shard %d: %w: %w", p.from.number, errBusy, err)
		}
		if err != nil {
			return fmt.Errorf("shard %d: %w", p.from.number, err)
		}
	}
	return nil
}

// stopCopy returns when the new shard has everything and follows no more, so that nothing that the old one
// deletes later is deleted there. The old shard is locked, or has given the half up.
func (p *pair) stopCopy(ctx context.Context) error {
	if err := p.catchUp(ctx); err != nil {
		return err
	}
	return p.to.with(ctx, func(conn *pgx.Conn) error {
		if _, err := conn.Exec(ctx, "ALTER SUBSCRIPTION "+replication+" DISABLE"); err != nil {
			return err
		}
		// The worker would look for the change once a second.
		return until(ctx, func() (bool, error) {
			return get[bool](ctx, conn, `SELECT count(pg_terminate_backend(a.pid)) = 0
				FROM pg_stat_subscription AS a
				JOIN pg_subscription AS s ON s.oid = a.subid
				JOIN pg_database AS d ON d.oid = s.subdbid
				WHERE s.subname = $1 AND d.datname = current_database() AND a.pid IS NOT NULL`, replication)
		})
	})
}

func (p *pair) commit(ctx context.Context) error {
	if _, err := p.locked.Exec(ctx, "COMMIT"); err != nil {
		return fmt.Errorf("shard %d: %w", p.from.number, err)
	}
	p.complete = true
	return nil
}

func (p *pair) unlock() {
	if p.locked != nil {
		closeNow(p.locked)
		p.locked = nil
	}
}

// take makes the new shard own the upper half, if nobody owns it. Its commit waits for the disk, and so for
// the rows that were copied.
func (p *pair) take(ctx context.Context) error {
	state, err := p.state(ctx)
	if err != nil || state != half {
		return err
	}
	if !p.complete { // an earlier run gave it up
		if err := p.to.exec(ctx, "ALTER SUBSCRIPTION "+replication+" ENABLE"); err != nil {
			return err
		}
		if err := p.stopCopy(ctx); err != nil {
			return err
		}
	}
	p.say("shard %d: taking the upper half of shard %d", p.to.number, p.from.number)
	return p.to.exec(ctx, fmt.Sprintf("SELECT sessionsql.shard(%d, %d)", p.shards, p.to.number))
}

// clean removes the replication and then the rows that the old shard owns no more.
func (p *pair) clean(ctx context.Context) error {
	p.say("shard %d: ending the replication to shard %d", p.from.number, p.to.number)
	subscribed, err := p.subscribed(ctx)
	if err == nil && subscribed {
		err = p.to.exec(ctx,
			"ALTER SUBSCRIPTION "+replication+" DISABLE",
			"ALTER SUBSCRIPTION "+replication+" SET (slot_name = NONE)",
			"DROP SUBSCRIPTION "+replication)
	}
	if err != nil {
		return err
	}
	return p.from.with(ctx, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, `SELECT pg_drop_replication_slot(s.slot_name)
			FROM pg_replication_slots AS s WHERE s.slot_name = $1`, p.slot())
		if err == nil {
			_, err = conn.Exec(ctx, "DROP PUBLICATION IF EXISTS "+replication)
		}
		if err == nil {
			err = p.waitForReaders(ctx, conn)
		}
		if err != nil {
			return err
		}
		err = p.deleteMoved(ctx, conn, "session", "id", "bigint", fmt.Sprint(math.MinInt64))
		if err != nil {
			return err
		}
		return p.deleteMoved(ctx, conn, "cache_entry", "key", "uuid", "00000000-0000-0000-0000-000000000000")
	})
}

// waitForReaders returns when each transaction that read the tables before the call has ended. It may not
// know yet that the rows are another's, and would say that there is no such session.
func (p *pair) waitForReaders(ctx context.Context, conn *pgx.Conn) error {
	now, err := get[time.Time](ctx, conn, "SELECT clock_timestamp()")
	if err != nil {
		return err
	}
	said := false
	return until(ctx, func() (bool, error) {
		readers, err := get[[]int32](ctx, conn, `SELECT COALESCE(array_agg(DISTINCT a.pid), '{}')
			FROM pg_locks AS l
			JOIN pg_stat_activity AS a ON a.pid = l.pid
			JOIN pg_database AS d ON d.oid = l.database
			WHERE d.datname = current_database()
			  AND l.relation IN ('sessionsql.session'::regclass, 'sessionsql.cache_entry'::regclass)
			  AND l.mode = 'AccessShareLock'
			  AND a.xact_start < $1`, now)
		if err != nil || len(readers) == 0 {
			return true, err
		}
		if !said {
			p.say("shard %d: waiting for transactions of the processes %d", p.from.number, readers)
			said = true
		}
		return false, sleep(ctx, time.Second)
	})
}

// deleteMoved deletes the rows of a table that the old shard does not own, in the order of their keys as
// every statement does. It goes round until it finds none, because it skips a row that another one has
// locked.
func (p *pair) deleteMoved(ctx context.Context, conn *pgx.Conn, table, key, keyType, lowest string) error {
	statement := fmt.Sprintf(`
		WITH next AS MATERIALIZED (
		  SELECT n.%[2]s AS key, sessionsql.is_home(n.%[2]s) AS is_home
		  FROM sessionsql.%[1]s AS n
		  WHERE n.%[2]s > $1::text::%[3]s
		  ORDER BY n.%[2]s
		  LIMIT %[4]d
		), locked AS MATERIALIZED (
		  SELECT s.%[2]s AS key
		  FROM sessionsql.%[1]s AS s
		  WHERE s.%[2]s = ANY (ARRAY(SELECT n.key FROM next AS n WHERE NOT n.is_home))
		  ORDER BY s.%[2]s
		  FOR UPDATE OF s SKIP LOCKED
		), deleted AS (
		  DELETE FROM sessionsql.%[1]s AS s WHERE s.%[2]s = ANY (ARRAY(SELECT l.key FROM locked AS l))
		)
		SELECT
		  (SELECT n.key::text FROM next AS n ORDER BY n.key DESC LIMIT 1),
		  (SELECT count(*) FROM next AS n WHERE NOT n.is_home),
		  (SELECT count(*) FROM locked)`, table, key, keyType, scanRows)
	total := 0
	for left := true; left; {
		left = false
		for last := &lowest; last != nil; {
			var moved, deleted int
			if err := conn.QueryRow(ctx, statement, *last).Scan(&last, &moved, &deleted); err != nil {
				return err
			}
			left = left || deleted < moved
			total += deleted
			if err := sleep(ctx, deletePause); err != nil {
				return err
			}
		}
	}
	p.say("shard %d: deleted %d moved rows of sessionsql.%s", p.from.number, total, table)
	return nil
}
