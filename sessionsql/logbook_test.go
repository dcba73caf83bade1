package sessionsql

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
)

// A told keeps the records of a log.
type told struct {
	slog.Handler
	records []slog.Record
}

func (t *told) Enabled(context.Context, slog.Level) bool { return true }

func (t *told) Handle(_ context.Context, r slog.Record) error {
	t.records = append(t.records, r)
	return nil
}

func attr(r slog.Record, key string) (value slog.Value) {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == key {
			value = a.Value
		}
		return true
	})
	return value
}

// watched returns the servers of a Store whose states the test alone changes, and its log.
func watched(t *testing.T, replicas int) ([]*node, *told) {
	t.Helper()
	log := &told{}
	s, err := newStore(nil, nil, make([]DB, replicas), &Options{Logger: slog.New(log)})
	if err != nil {
		t.Fatal(err)
	}
	return append([]*node{s.primary}, s.replicas...), log
}

func see(n *node, up bool) {
	if up {
		n.setState(nodeState{usable: true})
	} else {
		n.setState(nodeState{err: ErrUnavailable})
	}
}

func TestAChangeOfStateIsLoggedOnceAndAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes, log := watched(t, 1)
		begun := time.Now()
		for _, up := range []bool{true, true, false, false, false, true, true} {
			for _, n := range nodes {
				see(n, up)
			}
			time.Sleep(time.Second)
		}
		if len(log.records) != 4 {
			t.Fatalf("%d lines: %v", len(log.records), log.records)
		}
		for i, want := range []struct {
			level      slog.Level
			text, node string
			when       int // seconds after the first look
			after      time.Duration
		}{
			{slog.LevelWarn, "sessionsql: primary does not answer", "primary", 2, 0},
			{slog.LevelWarn, "sessionsql: replica left out", "replica 1", 2, 0},
			{slog.LevelInfo, "sessionsql: primary answers again", "primary", 5, 3 * time.Second},
			{slog.LevelInfo, "sessionsql: replica is read from again", "replica 1", 5, 3 * time.Second},
		} {
			r := log.records[i]
			if r.Level != want.level || r.Message != want.text || attr(r, "node").String() != want.node {
				t.Errorf("line %d: %v", i, r)
			}
			if !attr(r, "changes").Equal(slog.Value{}) {
				t.Errorf("line %d tells of several changes: %v", i, r)
			}
			if want.after != 0 && attr(r, "after").Duration() != want.after {
				t.Errorf("line %d: after %v", i, attr(r, "after"))
			}
			if when := r.Time.Sub(begun); when != time.Duration(want.when)*time.Second {
				t.Errorf("line %d came after %v", i, when)
			}
		}
	})
}

// TestServersThatComeAndGoFillNoLog makes four servers change their state with every look for two minutes.
// Each change has a line of its own or counts in one, a minute has fewer than twenty lines, and each server's
// last line tells its final state.
func TestServersThatComeAndGoFillNoLog(t *testing.T) {
	for _, endsWell := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			nodes, log := watched(t, 3)
			changes := map[string]int{}
			look := func(up bool) {
				for _, n := range nodes {
					if n.state.Load().usable != up {
						changes[n.name]++
					}
					see(n, up)
				}
				time.Sleep(time.Second)
			}
			for _, n := range nodes {
				see(n, true)
			}
			for i := range 120 {
				look(i%2 == 1)
			}
			for range 30 {
				look(endsWell)
			}
			last := map[string]slog.Level{}
			for i, r := range log.records {
				name := attr(r, "node").String()
				last[name] = r.Level
				if changed := attr(r, "changes"); changed.Equal(slog.Value{}) {
					changes[name]--
				} else {
					changes[name] -= int(changed.Int64())
				}
				if i >= 19 && r.Time.Sub(log.records[i-19].Time) < time.Minute {
					t.Errorf("20 lines in %v", r.Time.Sub(log.records[i-19].Time))
				}
			}
			for _, n := range nodes {
				if changes[n.name] != 0 {
					t.Errorf("%s: %d changes are in no line", n.name, changes[n.name])
				}
				if (last[n.name] == slog.LevelInfo) != endsWell {
					t.Errorf("%s: the last line is a %v", n.name, last[n.name])
				}
			}
			t.Logf("%d lines of 480 changes", len(log.records))
		})
	}
}
