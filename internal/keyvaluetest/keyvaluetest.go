// Package keyvaluetest checks that an adapter over cache entries keeps the promises of a key-value store. The
// adapters of all frameworks share its tests.
package keyvaluetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sessionsql/postgres/internal/faultproxy"
	"github.com/sessionsql/postgres/internal/pgcluster"
	"github.com/sessionsql/postgres/internal/sessiontest"
	"github.com/sessionsql/postgres/internal/testkit"
	"github.com/sessionsql/postgres/sessionsql"
)

// An Adapter is what adapters have in common.
type Adapter struct {
	// Get returns nil for a key that has no live value.
	Get func(ctx context.Context, key string) ([]byte, error)

	// Set stores a value for the time ttl, which is not 0. A negative ttl is past.
	Set func(ctx context.Context, key string, value []byte, ttl time.Duration) error

	Delete func(ctx context.Context, key string) error

	// SetForever and Reset are nil for a framework that has none.
	SetForever func(ctx context.Context, key string, value []byte) error
	Reset      func(ctx context.Context) error

	// Final says that a key that was deleted stays so.
	Final bool
}

// StartCluster starts the servers for Run.
func StartCluster(t *testing.T) *pgcluster.Cluster {
	t.Helper()
	return sessiontest.StartCluster(t, &pgcluster.Options{Replicas: 1})
}

// Run tests the adapter that adapt makes over a Store.
func Run(t *testing.T, cluster *pgcluster.Cluster, adapt func(*sessionsql.Store) Adapter) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, *suite)
	}{
		{"a key has its last value", lastValue},
		{"keys and values are any bytes", anyBytes},
		{"an empty key has no value", emptyKey},
		{"an entry expires when it should", expiry},
		{"a past expiry ends an entry", pastExpiry},
		{"an entry may live for ever", forever},
		{"a deleted key stays deleted if it should", deletion},
		{"a reset ends every entry and no other's", reset},
		{"an ended context is an error and does nothing", endedContext},
		{"a replica hides no write of another program", replicaBehind},
		{"replicas serve while the primary is away", primaryAway},
		{"an outage is an error", outage},
		{"concurrent callers share nothing", concurrency},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := sessiontest.NewDatabase(t, cluster)
			store := d.Store(t, nil)
			test.run(t, &suite{Adapter: adapt(store), t: t, database: d, store: store, adapt: adapt})
		})
	}
}

// A suite is an adapter over a database of its own.
type suite struct {
	Adapter
	t        *testing.T
	database *sessiontest.Database
	store    *sessionsql.Store
	adapt    func(*sessionsql.Store) Adapter
}

func (s *suite) set(key string, value []byte) {
	s.t.Helper()
	testkit.Must(s.t, s.Set(s.t.Context(), key, value, time.Hour))
}

// want checks the value of a key. Nil stands for none.
func (s *suite) want(key string, value []byte) {
	s.t.Helper()
	got, err := s.Get(s.t.Context(), key)
	testkit.Must(s.t, err)
	if !slices.Equal(got, value) || (got == nil) != (value == nil) {
		s.t.Errorf("the key %.20q has a value of %d bytes, %.20q; want %d, %.20q",
			key, len(got), got, len(value), value)
	}
}

func lastValue(t *testing.T, s *suite) {
	s.want("a", nil)
	testkit.Must(t, s.Delete(t.Context(), "a"))
	s.set("b", []byte("first"))
	s.want("b", []byte("first"))
	s.set("b", []byte("second"))
	s.set("c", []byte("other"))
	s.want("b", []byte("second"))
	other := s.adapt(s.database.Store(t, nil))
	got, err := other.Get(t.Context(), "b")
	if err != nil || string(got) != "second" {
		t.Errorf("another program finds %q, %v", got, err)
	}
	testkit.Must(t, s.Delete(t.Context(), "b"))
	s.want("b", nil)
	s.want("c", []byte("other"))
}

func anyBytes(t *testing.T, s *suite) {
	r := testkit.Random(t)
	values := map[string][]byte{}
	for _, length := range []int{1, 100, 10_000, 1 << 20} {
		key, value := make([]byte, min(length, 10_000)), make([]byte, length)
		for i := range key {
			key[i] = byte(r.Uint32())
		}
		for i := range value {
			value[i] = byte(r.Uint32())
		}
		values[string(key)] = value
	}
	for _, key := range []string{
		"a", "a\x00", "\x00a", "\xff", "A", "ä", "a ", "%s'\\", strings.Repeat("a", 1<<16),
	} {
		values[key] = []byte(key + "\x00\xff")
	}
	for key, value := range values {
		s.set(key, value)
	}
	for key, value := range values {
		s.want(key, value)
	}
}

func emptyKey(t *testing.T, s *suite) {
	_ = s.Set(t.Context(), "", []byte("value"), time.Hour) // frameworks differ in whether this is an error
	s.want("", nil)
	testkit.Must(t, s.Delete(t.Context(), ""))
	if n := s.rows("true"); n != 0 {
		t.Errorf("%d rows", n)
	}
}

// rows counts rows of the table.
func (s *suite) rows(condition string) int64 {
	s.t.Helper()
	pool := testkit.OpenPool(s.t, s.database.PrimaryDSN())
	return testkit.Get[int64](s.t, pool, "SELECT count(*) FROM sessionsql.cache_entry AS e WHERE "+condition)
}

func expiry(t *testing.T, s *suite) {
	pool := testkit.OpenPool(t, s.database.PrimaryDSN())
	now := func() time.Time { return testkit.Get[time.Time](t, pool, "SELECT clock_timestamp()") }
	const rounding = time.Millisecond
	for i, ttl := range []time.Duration{90 * time.Second, 24 * 365 * time.Hour, 300500 * time.Millisecond} {
		key := fmt.Sprint(i)
		before := now()
		testkit.Must(t, s.Set(t.Context(), key, []byte(key), ttl))
		after := now()
		expires := testkit.Get[time.Time](t, pool,
			"SELECT e.expires_at FROM sessionsql.cache_entry AS e WHERE e.value = $1", []byte(key))
		if expires.Before(before.Add(ttl-rounding)) || expires.After(after.Add(ttl+rounding)) {
			t.Errorf("a ttl of %v, given between %v and %v, ends at %v", ttl, before, after, expires)
		}
		s.want(key, []byte(key))
		_, err := pool.ExecContext(t.Context(),
			"UPDATE sessionsql.cache_entry SET expires_at = clock_timestamp() - interval '1 microsecond'")
		testkit.Must(t, err)
		s.want(key, nil)
		s.set(key, []byte("again"))
		s.want(key, []byte("again"))
	}
	testkit.Must(t, s.Set(t.Context(), "soon", []byte("value"), 50*time.Millisecond))
	testkit.Eventually(t, "the entry has expired", func() bool {
		value, err := s.Get(t.Context(), "soon")
		testkit.Must(t, err)
		return value == nil
	})
}

func pastExpiry(t *testing.T, s *suite) {
	for _, ttl := range []time.Duration{-1, -time.Hour, -1 << 63} {
		key := ttl.String()
		testkit.Must(t, s.Set(t.Context(), key, []byte("value"), ttl))
		s.want(key, nil)
		s.set(key, []byte("value"))
		s.want(key, []byte("value"))
		testkit.Must(t, s.Set(t.Context(), key, []byte("value"), ttl))
		s.want(key, nil)
	}
}

func forever(t *testing.T, s *suite) {
	if s.SetForever == nil {
		t.Skip("the framework gives every entry an expiry")
	}
	s.set("a", []byte("value"))
	testkit.Must(t, s.SetForever(t.Context(), "a", []byte("value")))
	s.want("a", []byte("value"))
	if n := s.rows("e.expires_at = 'infinity'"); n != 1 {
		t.Errorf("%d entries live for ever", n)
	}
	s.set("a", []byte("value"))
	if n := s.rows("e.expires_at = 'infinity'"); n != 0 {
		t.Errorf("the entry lives for ever still")
	}
}

func deletion(t *testing.T, s *suite) {
	s.set("a", []byte("before"))
	testkit.Must(t, s.Delete(t.Context(), "a"))
	other := s.adapt(s.database.Store(t, nil))
	for name, set := range map[string]func() error{
		"this program":    func() error { return s.Set(t.Context(), "a", []byte("after"), time.Hour) },
		"another program": func() error { return other.Set(t.Context(), "a", []byte("after"), time.Hour) },
	} {
		if err := set(); err != nil {
			t.Errorf("Set by %s after a deletion: %v", name, err)
		}
		if s.Final {
			s.want("a", nil)
		} else {
			s.want("a", []byte("after"))
		}
	}
}

func reset(t *testing.T, s *suite) {
	if s.Reset == nil {
		t.Skip("the framework resets nothing")
	}
	other := s.store.Cache("another space", nil)
	testkit.Must(t, other.Set(t.Context(), "a", []byte("value"), time.Hour))
	for i := range 100 {
		s.set(fmt.Sprint(i), []byte("value"))
	}
	testkit.Must(t, s.Reset(t.Context()))
	for i := range 100 {
		s.want(fmt.Sprint(i), nil)
	}
	if _, err := other.Get(t.Context(), "a"); err != nil {
		t.Errorf("another space's entry: %v", err)
	}
}

func endedContext(t *testing.T, s *suite) {
	s.set("a", []byte("value"))
	ended, end := context.WithCancel(t.Context())
	end()
	value, getErr := s.Get(ended, "a")
	if value != nil {
		t.Errorf("Get returned %q", value)
	}
	errs := map[string]error{
		"Get":    getErr,
		"Set":    s.Set(ended, "a", []byte("other"), time.Hour),
		"Delete": s.Delete(ended, "a"),
	}
	if s.SetForever != nil {
		errs["SetForever"] = s.SetForever(ended, "a", []byte("other"))
	}
	if s.Reset != nil {
		errs["Reset"] = s.Reset(ended)
	}
	for name, err := range errs {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v, want context.Canceled", name, err)
		}
	}
	s.want("a", []byte("value"))
}

// replicaBehind matters because frameworks write back what they have read.
func replicaBehind(t *testing.T, s *suite) {
	s.set("a", []byte("old"))
	other := s.adapt(s.database.Store(t, nil))
	s.database.CatchUp(t)
	replica := testkit.OpenPool(t, s.database.ReplicaDSNs()[0])
	_, err := replica.ExecContext(t.Context(), "SELECT pg_wal_replay_pause()")
	testkit.Must(t, err)
	defer func() {
		_, err := replica.ExecContext(t.Context(), "SELECT pg_wal_replay_resume()")
		testkit.Must(t, err)
	}()
	s.set("a", []byte("new"))
	if got, err := other.Get(t.Context(), "a"); err != nil || string(got) != "new" {
		t.Errorf("another program finds %q, %v", got, err)
	}
	testkit.Must(t, s.Delete(t.Context(), "a"))
	if got, err := other.Get(t.Context(), "a"); err != nil || got != nil {
		t.Errorf("after the deletion another program finds %q, %v", got, err)
	}
}

// openBehindProxy opens an adapter whose connections to the primary go through a proxy.
func (s *suite) openBehindProxy(replicas []string) *faultproxy.Proxy {
	s.t.Helper()
	primary := s.database.Cluster.Primary
	proxy, err := faultproxy.New(primary.Address())
	testkit.Must(s.t, err)
	s.t.Cleanup(func() { testkit.Must(s.t, proxy.Close()) })
	dsn := strings.Replace(s.database.PrimaryDSN(), primary.Address(), proxy.Addr(), 1)
	s.Adapter = s.adapt(sessiontest.OpenStore(s.t, dsn, replicas, nil))
	return proxy
}

func primaryAway(t *testing.T, s *suite) {
	s.set("a", []byte("value"))
	s.database.CatchUp(t)
	proxy := s.openBehindProxy(s.database.ReplicaDSNs())
	s.want("a", []byte("value"))
	proxy.Refuse()
	testkit.Eventually(t, "the replica serves", func() bool {
		value, err := s.Get(t.Context(), "a")
		if err != nil && !errors.Is(err, sessionsql.ErrUnavailable) || err == nil && value == nil {
			t.Fatalf("%q, %v", value, err)
		}
		return err == nil
	})
	if value, err := s.Get(t.Context(), "b"); value != nil || !errors.Is(err, sessionsql.ErrUnavailable) {
		t.Errorf("a key that the replica does not have: %q, %v; want ErrUnavailable", value, err)
	}
}

func outage(t *testing.T, s *suite) {
	proxy := s.openBehindProxy(nil)
	s.set("a", []byte("value"))
	proxy.Refuse()
	value, getErr := s.Get(t.Context(), "a")
	if value != nil {
		t.Errorf("Get returned %q", value)
	}
	errs := map[string]error{
		"Get":    getErr,
		"Set":    s.Set(t.Context(), "a", []byte("other"), time.Hour),
		"Delete": s.Delete(t.Context(), "a"),
	}
	if s.Reset != nil {
		errs["Reset"] = s.Reset(t.Context())
	}
	for name, err := range errs {
		if !errors.Is(err, sessionsql.ErrUnavailable) {
			t.Errorf("%s: %v, want ErrUnavailable", name, err)
		}
	}
	proxy.Pass()
	testkit.Eventually(t, "the database answers again", func() bool {
		value, err := s.Get(t.Context(), "a")
		return err == nil && string(value) == "value"
	})
}

// concurrency also overwrites what it has passed and what it has got, because an adapter must hold neither.
func concurrency(t *testing.T, s *suite) {
	seeded := testkit.Random(t)
	s.set("shared", []byte("shared value"))
	var wait sync.WaitGroup
	for caller := range 16 {
		r := testkit.Fork(seeded)
		wait.Go(func() {
			buffer := make([]byte, 0, 100)
			for i := range 100 {
				if err := s.setAndGet(r.IntN(4) == 0, fmt.Sprint(caller, " ", i), buffer); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wait.Wait()
	s.want("shared", []byte("shared value"))
}

// setAndGet sets a key to itself, by a caller that may leave at any time.
func (s *suite) setAndGet(leaves bool, key string, buffer []byte) error {
	ctx := s.t.Context()
	if leaves {
		var cancel func()
		ctx, cancel = context.WithCancel(ctx)
		go cancel()
	}
	buffer = append(buffer[:0], key...)
	setErr := s.Set(ctx, key, buffer, time.Hour)
	clear(buffer)
	if setErr != nil && (!leaves || !errors.Is(setErr, context.Canceled)) {
		return setErr
	}
	got, err := s.Get(s.t.Context(), key)
	if missing := setErr != nil && got == nil; err != nil || string(got) != key && !missing {
		return fmt.Errorf("the key %q has %q, %w", key, got, err)
	}
	got, err = s.Get(s.t.Context(), "shared")
	if err != nil || string(got) != "shared value" {
		return fmt.Errorf("the shared key has %q, %w", got, err)
	}
	clear(got)
	return nil
}
