package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// A Cost is that of one operation, the median over the rounds. The CPU is in microseconds.
type Cost struct {
	CPU     float64 `json:"cpu_us"`     // of the primary without Sending
	Sending float64 `json:"sending_us"` // of the primary's process that sends WAL to the standby
	Replay  float64 `json:"replay_us"`  // of the standby's process that replays WAL
	WAL     float64 `json:"wal_bytes"`
	Records float64 `json:"wal_records"`
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
	if err != nil {
		return c, err
	}
	each := func(d time.Duration) float64 { return d.Seconds() * 1e6 / float64(ops) }
	sending, replay := after.sending-before.sending, after.replay-before.replay
	if t.standby != nil && (sending < 0 || replay < 0) {
		return c, errors.New("the standby connected anew, so that its CPU time is not known")
	}
	c.CPU, c.Sending, c.Replay = each(after.primary-before.primary-sending), each(sending), each(replay)
	c.WAL, c.Records = c.WAL/float64(ops), c.Records/float64(ops)
	return c, nil
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
