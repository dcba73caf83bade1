package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/sessionsql/postgres/internal/pgcluster"
)

const (
	failOverTimeout = 30 * time.Second
	pollPause       = 10 * time.Millisecond // the pause between two looks
)

// failOver kills the primary as a crash of its machine would. Then it acts as a cluster manager: it promotes
// the replica that has received most and makes the others follow it. The site and its Store are not told.
func (d *database) failOver(ctx context.Context, c *crash, screen *screen) error {
	ctx, cancel := context.WithTimeout(ctx, failOverTimeout)
	defer cancel()
	replicas, closeReplicas, err := openEach(d.cluster.Replicas)
	defer closeReplicas()
	if err != nil {
		return err
	}
	before := d.store.Stats()
	screen.say("killing the primary by SIGKILL")
	c.reach(func(m *moments) *time.Time { return &m.begun })
	if err := d.cluster.Primary.Kill(); err != nil {
		return err
	}
	c.reach(func(m *moments) *time.Time { return &m.dead })
	i, err := mostReceived(ctx, replicas)
	if err != nil {
		return err
	}
	leader := d.cluster.Replicas[i]
	if err := leader.Promote(ctx); err != nil {
		return err
	}
	c.promote(leader.Name())
	for _, replica := range d.cluster.Replicas {
		if replica == leader {
			continue
		}
		if err := replica.Follow(leader); err != nil {
			return err
		}
	}
	screen.say("%s is promoted, and the other replica follows it", leader.Name())
	if d.afterPromotion != nil {
		if err := d.afterPromotion(ctx, d.pool); err != nil {
			return err
		}
	}
	return d.awaitRecovery(ctx, c, before.FlushErrors+before.ReapErrors)
}

// openEach opens a pool to each server, and returns a function that closes them.
func openEach(nodes []*pgcluster.Node) (pools []*sql.DB, closeAll func(), err error) {
	closeAll = func() {
		for _, pool := range pools {
			_ = pool.Close()
		}
	}
	for _, node := range nodes {
		pool, err := sql.Open("pgx", node.DSN("postgres"))
		if err != nil {
			return pools, closeAll, err
		}
		pools = append(pools, pool)
	}
	return pools, closeAll, nil
}

// mostReceived returns the replica that has received most. Every commit that waited for a replica is there.
func mostReceived(ctx context.Context, replicas []*sql.DB) (most int, err error) {
	const query = `SELECT pg_last_wal_receive_lsn() - '0/0', NOT EXISTS (SELECT FROM pg_stat_wal_receiver)`
	received := make([]int64, len(replicas))
	for i, replica := range replicas {
		for ended := false; !ended; {
			if err := replica.QueryRowContext(ctx, query).Scan(&received[i], &ended); err != nil {
				return 0, fmt.Errorf("what a replica has received: %w", err)
			}
			if !ended && !rest(ctx, pollPause) {
				return 0, ctx.Err()
			}
		}
		if received[i] > received[most] {
			most = i
		}
	}
	return most, nil
}

// awaitRecovery returns when the Store's writes, synchronous ones included, and its loops work again.
func (d *database) awaitRecovery(ctx context.Context, c *crash, errorsBefore int64) error {
	for d.tryWrite(ctx) != nil {
		if !rest(ctx, pollPause) {
			return errors.New("no write succeeds after the promotion")
		}
	}
	c.reach(func(m *moments) *time.Time { return &m.over })
	promoted := c.now().promoted
	for {
		stats := d.store.Stats()
		flushed := stats.LastFlush.After(promoted) || stats.TouchesPending == 0
		if flushed && stats.LastReap.After(promoted) {
			c.recovered(stats.FlushErrors + stats.ReapErrors - errorsBefore)
			return nil
		}
		if !rest(ctx, pollPause) {
			return errors.New("keepalive or the reaper does not work again after the promotion")
		}
	}
}

// tryWrite makes a session and ends it.
func (d *database) tryWrite(ctx context.Context) error {
	token, err := d.store.Insert(ctx, "{}", nil)
	if err != nil {
		return err
	}
	return d.store.Revoke(ctx, token)
}
