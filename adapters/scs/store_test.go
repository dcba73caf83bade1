package sessionsqlscs_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	sessionsqlscs "github.com/sessionsql/postgres/adapters/scs"
	"github.com/sessionsql/postgres/internal/keyvaluetest"
	"github.com/sessionsql/postgres/internal/sessiontest"
	"github.com/sessionsql/postgres/internal/testkit"
	"github.com/sessionsql/postgres/sessionsql"
)

var must = testkit.Must

func TestStoreIsAKeyValueStore(t *testing.T) {
	cluster := keyvaluetest.StartCluster(t)
	for name, options := range map[string]*sessionsqlscs.Options{
		"default": nil, "KeepTokens": {Space: "with tokens", KeepTokens: true, Slack: -1},
	} {
		t.Run(name, func(t *testing.T) {
			keyvaluetest.Run(t, cluster, func(store *sessionsql.Store) keyvaluetest.Adapter {
				s := sessionsqlscs.NewStore(store, options)
				return keyvaluetest.Adapter{
					Get: func(ctx context.Context, token string) ([]byte, error) {
						data, found, err := s.FindCtx(ctx, token)
						if found != (data != nil) {
							t.Errorf("found %v, with %d bytes", found, len(data))
						}
						return data, err
					},
					Set: func(ctx context.Context, token string, data []byte, ttl time.Duration) error {
						return s.CommitCtx(ctx, token, data, time.Now().Add(ttl))
					},
					Delete: s.DeleteCtx,
					Final:  true,
				}
			})
		})
	}
}

func TestAllReturnsTheLiveSessions(t *testing.T) {
	d := sessiontest.NewDatabase(t, sessiontest.StartCluster(t, nil))
	store := d.Store(t, nil)
	s := sessionsqlscs.NewStore(store, &sessionsqlscs.Options{KeepTokens: true})
	all, err := s.All()
	if err != nil || all == nil || len(all) != 0 {
		t.Errorf("without sessions: %v, %v", all, err)
	}
	want := map[string][]byte{}
	for i := range 2500 {
		token := fmt.Sprint(i)
		must(t, s.Commit(token, []byte("data of "+token), time.Now().Add(time.Hour)))
		want[token] = []byte("data of " + token)
	}
	must(t, s.Commit("past", []byte("data"), time.Now().Add(-time.Second)))
	must(t, s.Delete("1"))
	delete(want, "1")
	other := sessionsqlscs.NewStore(store, &sessionsqlscs.Options{Space: "other", KeepTokens: true})
	must(t, other.Commit("other", []byte("data"), time.Now().Add(time.Hour)))
	all, err = s.All()
	if err != nil || !maps.EqualFunc(all, want, func(a, b []byte) bool { return string(a) == string(b) }) {
		t.Errorf("%d sessions, %v; want %d", len(all), err, len(want))
	}

	withoutTokens := sessionsqlscs.NewStore(store, &sessionsqlscs.Options{Space: "hashed"})
	must(t, withoutTokens.Commit("token", []byte("data"), time.Now().Add(time.Hour)))
	if all, err := withoutTokens.All(); all != nil || !errors.Is(err, sessionsql.ErrOptions) {
		t.Errorf("without KeepTokens: %v, %v", all, err)
	}
}

// TestACommitOfWhatWasFoundIsNotSent changes a session behind a Store, so that a commit that is sent shows.
func TestACommitOfWhatWasFoundIsNotSent(t *testing.T) {
	d := sessiontest.NewDatabase(t, sessiontest.StartCluster(t, nil))
	s := sessionsqlscs.NewStore(d.Store(t, nil), nil)
	other := sessionsqlscs.NewStore(d.Store(t, nil), nil)
	hour := time.Now().Add(time.Hour)
	find := func(on *sessionsqlscs.Store) string {
		data, _, err := on.Find("token")
		must(t, err)
		return string(data)
	}
	for _, each := range []struct {
		name   string
		before func()
		data   string
		expiry time.Time
		want   string
	}{
		{"the same", func() {}, "found", hour, "theirs"},
		{"the same, expiring within the slack", func() {}, "found", hour.Add(50 * time.Second), "theirs"},
		{"other data", func() {}, "new", hour, "new"},
		{"expiring later", func() {}, "found", hour.Add(2 * time.Minute), "found"},
		{"expiring earlier", func() {}, "found", hour.Add(-2 * time.Second), "found"},
		{"committed since", func() {
			must(t, s.Commit("token", []byte("ours"), hour))
		}, "found", hour, "found"},
		{"deleted since", func() { must(t, s.Delete("token")) }, "found", hour, ""},
	} {
		must(t, other.Commit("token", []byte("found"), hour))
		if got := find(s); got != "found" {
			t.Fatalf("%s: found %q", each.name, got)
		}
		each.before()
		must(t, other.Commit("token", []byte("theirs"), hour))
		must(t, s.Commit("token", []byte(each.data), each.expiry))
		if got := find(other); got != each.want {
			t.Errorf("%s: the session holds %q, want %q", each.name, got, each.want)
		}
	}
}

// TestAFindDuringACommitHidesNoOther finds the old data while a commit waits for the row.
func TestAFindDuringACommitHidesNoOther(t *testing.T) {
	d := sessiontest.NewDatabase(t, sessiontest.StartCluster(t, nil))
	s := sessionsqlscs.NewStore(d.Store(t, nil), nil)
	hour := time.Now().Add(time.Hour)
	find := func() string {
		data, _, err := s.Find("token")
		must(t, err)
		return string(data)
	}
	must(t, s.Commit("token", []byte("old"), hour))
	pool := testkit.OpenPool(t, d.PrimaryDSN())
	holder, err := pool.BeginTx(t.Context(), nil)
	must(t, err)
	pid := testkit.Get[int](t, holder, `
		SELECT pg_backend_pid() FROM sessionsql.cache_entry FOR UPDATE`)
	committed := make(chan error, 1)
	go func() { committed <- s.Commit("token", []byte("new"), hour) }()
	testkit.Eventually(t, "the commit waits for the row", func() bool {
		return testkit.Get[bool](t, pool,
			"SELECT EXISTS (SELECT FROM pg_stat_activity WHERE $1 = ANY (pg_blocking_pids(pid)))", pid)
	})
	if got := find(); got != "old" {
		t.Errorf("before the commit: %q", got)
	}
	must(t, holder.Rollback())
	must(t, <-committed)
	must(t, s.Commit("token", []byte("old"), hour))
	if got := find(); got != "old" {
		t.Errorf("the last commit was not sent: %q", got)
	}
}

// TestAFindUnderWayHidesNoCommit begins a find before a commit, which ends before it.
func TestAFindUnderWayHidesNoCommit(t *testing.T) {
	d := sessiontest.NewDatabase(t, sessiontest.StartCluster(t, nil))
	s := sessionsqlscs.NewStore(d.Store(t, nil), nil)
	hour := time.Now().Add(time.Hour)
	must(t, s.Commit("token", []byte("0"), hour))
	var stop atomic.Bool
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for !stop.Load() {
				_, _, err := s.Find("token")
				must(t, err)
			}
		})
	}
	for i := range 300 {
		for _, data := range []string{"even", "odd"} {
			must(t, s.Commit("token", []byte(data), hour))
			if got, _, err := s.Find("token"); err != nil || string(got) != data {
				t.Errorf("commit %d: found %q, %v; want %s", i, got, err, data)
			}
		}
	}
	stop.Store(true)
	wait.Wait()
}
