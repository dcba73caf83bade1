package sessionsql_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sessionsql/postgres/internal/sessiontest"
	"github.com/sessionsql/postgres/sessionsql"
)

// A source counts its loads. A load waits until the test releases it.
type source struct {
	loads   atomic.Int64
	release chan struct{}
}

func newSource() *source { return &source{release: make(chan struct{})} }

func (s *source) load(ctx context.Context) ([]byte, error) {
	n := s.loads.Add(1)
	select {
	case <-s.release:
		return []byte(fmt.Sprint("load ", n)), nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (s *source) begun(t testing.TB, loads int64) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d loads have begun", loads), func() bool { return s.loads.Load() >= loads })
}

// loading returns a load of this value.
func loading(value string) func(context.Context) ([]byte, error) {
	return func(context.Context) ([]byte, error) { return []byte(value), nil }
}

// wantFetched checks that Fetch returns this value for the key "k".
func wantFetched(
	t testing.TB, cache *sessionsql.Cache, load func(context.Context) ([]byte, error), want string,
) {
	t.Helper()
	if value, err := cache.Fetch(t.Context(), "k", 0, load); err != nil || string(value) != want {
		t.Errorf("Fetch: %q, %v; want %q", value, err, want)
	}
}

// leases counts the live leases.
func (d *database) leases(t testing.TB) int {
	t.Helper()
	return get[int](t, d.primary, `SELECT count(*) FROM sessionsql.cache_entry
		WHERE plain_key = '' AND expires_at > clock_timestamp()`)
}

func TestOfAThousandCallersInThreeProgramsOneLoads(t *testing.T) {
	d := newDatabase(t)
	var caches []*sessionsql.Cache
	for range 3 {
		caches = append(caches, d.Store(t, nil).Cache("c", nil))
	}
	for round := range 3 {
		key := fmt.Sprint(round)
		source := newSource()
		time.AfterFunc(300*time.Millisecond, func() { close(source.release) })
		atOnce(1000, func(i int) {
			value, err := caches[i%3].Fetch(t.Context(), key, time.Hour, source.load)
			if err != nil || string(value) != "load 1" {
				t.Errorf("Fetch: %q, %v", value, err)
				return
			}
			copy(value, "mine") // which no other caller may see
		})
		if n := source.loads.Load(); n != 1 {
			t.Errorf("%d loads", n)
		}
		wantEntry(t, caches[0], key, "load 1")
	}
	if n := d.leases(t); n != 0 {
		t.Errorf("%d leases are left", n)
	}
	if left := get[float64](t, d.primary, `SELECT min(date_part('epoch', expires_at - clock_timestamp()))
		FROM sessionsql.cache_entry WHERE plain_key IS NULL`); left < 3500 || left > 3600 {
		t.Errorf("%v seconds left", left)
	}
}

func TestFetchLoadsWhatGetDoesNotFind(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nil)
	ctx, cache := t.Context(), store.Cache("c", nil)
	loads := 0
	fetch := func(ttl time.Duration, want int) {
		t.Helper()
		value, err := cache.Fetch(ctx, "k", ttl, func(context.Context) ([]byte, error) {
			loads++
			return nil, nil // nil is an empty value
		})
		if err != nil || value == nil || len(value) != 0 || loads != want {
			t.Errorf("%q, %v, after %d loads; want %d", value, err, loads, want)
		}
	}
	fetch(-1, 1) // over at once
	wantNoEntry(t, cache, "k")
	fetch(time.Hour, 2)
	fetch(time.Hour, 2)
	d.setAll("-1 microsecond")
	fetch(0, 3)
	fetch(0, 3)
	must(t, cache.Delete(ctx, "k"))
	fetch(0, 4)
	if stats := store.Stats(); stats.CacheLoads != 4 || stats.CacheGets != 7 || stats.CacheMisses != 5 {
		t.Errorf("%+v", stats)
	}
}

func TestACallerThatLeavesFetchStopsNoOther(t *testing.T) {
	d := newDatabase(t)
	cache := d.Store(t, nil).Cache("c", nil)
	source := newSource()
	var wait sync.WaitGroup
	ctx, leave := context.WithCancel(t.Context())
	type mark struct{}
	wait.Go(func() { // the one whose call began the load
		marked := context.WithValue(ctx, mark{}, "first")
		_, err := cache.Fetch(marked, "k", 0, func(ctx context.Context) ([]byte, error) {
			if ctx.Value(mark{}) != "first" {
				t.Error("the load lacks the values of its first caller")
			}
			return source.load(ctx)
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("the caller that left: %v", err)
		}
	})
	source.begun(t, 1)
	for range 10 {
		wait.Go(func() {
			wantFetched(t, cache, source.load, "load 1")
		})
	}
	leave()
	eventually(t, "the first caller has left", func() bool { return ctx.Err() != nil })
	close(source.release)
	wait.Wait()
	wantEntry(t, cache, "k", "load 1")
}

func TestAFailedLoadReachesItsCallersAndIsTriedAgain(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nil)
	cache := store.Cache("c", nil)
	failure := errors.New("the source is down")
	for name, c := range map[string]struct {
		load func(context.Context) ([]byte, error)
		want func(err error, panicked any) bool
	}{
		"an error": {
			func(context.Context) ([]byte, error) { return []byte("partial"), failure },
			func(err error, _ any) bool { return err == failure },
		},
		"a panic": {
			func(context.Context) ([]byte, error) { panic("a bug") },
			func(_ error, panicked any) bool { return panicked == "a bug" },
		},
		"the end of its goroutine": {
			func(context.Context) ([]byte, error) { runtime.Goexit(); return nil, nil },
			func(err error, _ any) bool { return strings.Contains(fmt.Sprint(err), "did not return") },
		},
		"a value that is too large": {
			func(context.Context) ([]byte, error) { return make([]byte, 2<<20), nil },
			func(err error, _ any) bool { return errors.As(err, new(*sessionsql.PayloadError)) },
		},
	} {
		atOnce(20, func(int) {
			var err error
			var value []byte
			var panicked any
			func() {
				defer func() { panicked = recover() }()
				value, err = cache.Fetch(t.Context(), name, 0, c.load)
			}()
			if !c.want(err, panicked) || err != nil && len(value) != 0 {
				t.Errorf("%s: %d bytes, %v, %v", name, len(value), err, panicked)
			}
		})
		wantNoEntry(t, cache, name)
		if n := d.leases(t); n != 0 {
			t.Errorf("%s: %d leases are left", name, n)
		}
		value, err := cache.Fetch(t.Context(), name, 0, loading("v"))
		if err != nil || string(value) != "v" {
			t.Errorf("after %s: %q, %v", name, value, err)
		}
	}
	if n := store.Stats().Errors[sessionsql.ErrorKey{Op: "cache load", Kind: "refused"}]; n < 3 {
		t.Errorf("%d failed loads are counted", n)
	}
}

func TestAStaleValueIsServedWhileOneCallerLoads(t *testing.T) {
	d := newDatabase(t)
	options := &sessionsql.CacheOptions{StaleFor: time.Hour}
	stores := []*sessionsql.Store{d.Store(t, nil), d.Store(t, nil)}
	caches := []*sessionsql.Cache{stores[0].Cache("c", options), stores[1].Cache("c", options)}
	mustSet(t, caches[0], "k", "stale", time.Minute)
	d.setAll("59 minutes")
	d.CatchUp(t)
	source := newSource()
	for range 5 {
		atOnce(20, func(i int) {
			value, err := caches[i%2].Fetch(t.Context(), "k", time.Minute, source.load)
			if err != nil || string(value) != "stale" {
				t.Errorf("Fetch: %q, %v", value, err)
			}
		})
		source.begun(t, 1)
	}
	close(source.release)
	for i, cache := range caches {
		eventually(t, "the new value is served", func() bool {
			value, err := cache.Fetch(t.Context(), "k", time.Minute, source.load)
			must(t, err)
			return string(value) == "load 1"
		})
		eventually(t, "no load is under way", func() bool { return d.leases(t) == 0 })
		wantEntry(t, caches[i], "k", "load 1")
	}
	if n := source.loads.Load(); n != 1 {
		t.Errorf("%d loads", n)
	}

	// A failed reload keeps its lease, so that the source is asked no more until that lapses.
	d.setAll("59 minutes")
	var failed atomic.Int64
	fail := func(context.Context) ([]byte, error) {
		failed.Add(1)
		return nil, errors.New("the source is down")
	}
	atOnce(100, func(i int) {
		value, err := caches[i%2].Fetch(t.Context(), "k", time.Minute, fail)
		if err != nil || string(value) != "load 1" {
			t.Errorf("Fetch: %q, %v", value, err)
		}
	})
	eventually(t, "the failed load is counted", func() bool {
		_, err := caches[0].Fetch(t.Context(), "k", time.Minute, fail)
		must(t, err)
		n := int64(0)
		for _, store := range stores {
			n += store.Stats().Errors[sessionsql.ErrorKey{Op: "cache load", Kind: "refused"}]
		}
		return n == 1
	})
	for i := range 20 {
		_, err := caches[i%2].Fetch(t.Context(), "k", time.Minute, fail)
		must(t, err)
	}
	if n := failed.Load(); n != 1 || d.leases(t) != 1 {
		t.Errorf("%d failed loads, %d leases", n, d.leases(t))
	}
	// When the stale time is over as well, callers wait for a load, and so for the end of the lease.
	d.primary.MustExec("DELETE FROM sessionsql.cache_entry WHERE plain_key IS NULL")
	eventually(t, "the value is loaded", func() bool { // a background load may still fail before
		value, _ := caches[0].Fetch(t.Context(), "k", time.Minute, source.load)
		return string(value) == "load 2"
	})
}

func TestAnotherProgramTakesOverFromOneThatDied(t *testing.T) {
	f := newFaulty(t, 0)
	doomed := sessiontest.OpenStore(t, f.through(t, f.primaryProxy), nil, quiet()).Cache("c", nil)
	cache := f.Store(t, nil).Cache("c", nil)
	source := newSource()
	lost := make(chan error, 1)
	go func() {
		_, err := doomed.Fetch(context.Background(), "k", 0, source.load)
		lost <- err
	}()
	source.begun(t, 1)
	leased := func() bool { return f.leases(t) == 1 }
	if !leased() {
		t.Error("the load has no lease")
	}
	// While the program lives, it renews the lease, and others wait.
	ctx, cancel := context.WithTimeout(t.Context(), 7*time.Second)
	defer cancel()
	if _, err := cache.Fetch(ctx, "k", 0, source.load); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Fetch beside a load: %v", err)
	}
	if n := source.loads.Load(); n != 1 || !leased() {
		t.Errorf("%d loads", n)
	}
	f.primaryProxy.Refuse() // for the server the program is dead now
	f.primaryProxy.Reset()
	own := newSource()
	close(own.release)
	value, err := cache.Fetch(t.Context(), "k", 0, own.load)
	if err != nil || string(value) != "load 1" || own.loads.Load() != 1 {
		t.Errorf("Fetch after the program's death: %q, %v", value, err)
	}
	// The program that was cut off has its value, and writes nothing over that of the other.
	close(source.release)
	if err := <-lost; err != nil {
		t.Errorf("the program that was cut off: %v", err)
	}
}

func TestFetchReturnsWhatItCannotWrite(t *testing.T) {
	f := newFaulty(t, 0)
	options := quiet()
	options.Timeout = time.Second
	store := sessiontest.OpenStore(t, f.through(t, f.primaryProxy), nil, options)
	cache := store.Cache("c", nil)
	value, err := cache.Fetch(t.Context(), "k", 0, func(context.Context) ([]byte, error) {
		f.primaryProxy.Refuse()
		f.primaryProxy.Reset()
		return []byte("v"), nil
	})
	if err != nil || string(value) != "v" {
		t.Errorf("Fetch: %q, %v", value, err)
	}
	if n := store.Stats().Errors[sessionsql.ErrorKey{Op: "cache set", Kind: "unavailable"}]; n != 1 {
		t.Errorf("%d failed sets are counted", n)
	}
	loads := store.Stats().CacheLoads
	_, err = cache.Fetch(t.Context(), "k", 0, loading("v"))
	if loads != store.Stats().CacheLoads || !errors.Is(err, sessionsql.ErrUnavailable) {
		t.Errorf("Fetch: %v", err)
	}
}

func TestCloseEndsALoadThatNobodyWaitsFor(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nil)
	cache := store.Cache("c", &sessionsql.CacheOptions{StaleFor: time.Hour})
	mustSet(t, cache, "k", "stale", time.Minute)
	d.setAll("59 minutes")
	source := newSource() // which nobody releases
	wantFetched(t, cache, source.load, "stale")
	source.begun(t, 1)
	closeStore(t, store)
}

func TestCloseWaitsForALoadThatACallerWaitsFor(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nil)
	cache := store.Cache("c", nil)
	source := newSource()
	var wait sync.WaitGroup
	wait.Go(func() {
		wantFetched(t, cache, source.load, "load 1")
	})
	source.begun(t, 1)
	closed := make(chan error, 1)
	go func() { closed <- store.Close(context.Background()) }()
	eventually(t, "the store is closed for new calls", func() bool {
		return cache.Touch(t.Context(), "k", 0) == sessionsql.ErrClosed
	})
	close(source.release)
	must(t, <-closed)
	wait.Wait()
	if n := get[int](t, d.primary, "SELECT count(*) FROM sessionsql.cache_entry"); n != 1 {
		t.Errorf("%d rows, want the entry alone", n)
	}
}

func TestCloseGivesUpALoadThatIgnoresItsContext(t *testing.T) {
	d := newDatabase(t)
	options := quiet()
	options.Timeout = 300 * time.Millisecond
	store := d.Store(t, options)
	cache := store.Cache("c", nil)
	source := newSource()
	fetched := make(chan error, 1)
	go func() {
		_, err := cache.Fetch(context.Background(), "k", 0, func(context.Context) ([]byte, error) {
			return source.load(context.Background())
		})
		fetched <- err
	}()
	source.begun(t, 1)
	if err := store.Close(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Close: %v", err)
	}
	if err := <-fetched; !errors.Is(err, sessionsql.ErrClosed) {
		t.Errorf("Fetch: %v", err)
	}
	close(source.release)
}
