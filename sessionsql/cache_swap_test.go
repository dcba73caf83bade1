package sessionsql_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sessionsql/postgres/sessionsql"
)

func TestSwapTellsItsOutcomesApart(t *testing.T) {
	d := newDatabase(t)
	ctx, cache := t.Context(), d.Store(t, nil).Cache("c", nil)
	swap := func(old, new []byte, want error) {
		t.Helper()
		if err := cache.Swap(ctx, "k", old, new, time.Hour); err != want {
			t.Errorf("Swap of %q for %q: %v, want %v", old, new, err, want)
		}
	}
	swap([]byte("v"), []byte("w"), sessionsql.ErrNoEntry)
	mustSet(t, cache, "k", "v", time.Minute)
	swap([]byte("other"), []byte("w"), sessionsql.ErrConflict)
	wantEntry(t, cache, "k", "v")
	swap([]byte("v"), []byte("w"), nil)
	wantEntry(t, cache, "k", "w")
	if left := d.entryExpiresIn(t); left < 3590 || left > 3600 {
		t.Errorf("%v seconds left", left)
	}
	swap([]byte("w"), []byte{}, nil) // empty is a value
	wantEntry(t, cache, "k", "")
	swap(nil, []byte("x"), nil) // nil is the empty value here
	swap([]byte("x"), nil, nil) // and a delete here
	wantNoEntry(t, cache, "k")
	mustSet(t, cache, "k", "v", time.Minute)
	d.setAll("-1 microsecond")
	swap([]byte("v"), []byte("w"), sessionsql.ErrNoEntry)
	wantNoEntry(t, cache, "k")
}

func TestALockIsReleasedByItsOwnerOnly(t *testing.T) {
	d := newDatabase(t)
	ctx, cache := t.Context(), d.Store(t, nil).Cache("c", nil)
	for round := range 10 {
		key := fmt.Sprint(round)
		var released atomic.Int32
		if added, err := cache.Add(ctx, key, []byte("owner 7"), time.Hour); !added || err != nil {
			t.Fatalf("Add: %v, %v", added, err)
		}
		atOnce(16, func(i int) {
			err := cache.Swap(ctx, key, []byte(fmt.Sprint("owner ", i)), nil, 0)
			switch {
			case err == nil && i == 7:
				released.Add(1)
			case i == 7, err != sessionsql.ErrConflict && err != sessionsql.ErrNoEntry:
				t.Errorf("owner %d: %v", i, err)
			}
		})
		if released.Load() != 1 {
			t.Error("the owner did not release the lock")
		}
		wantNoEntry(t, cache, key)
	}
}
