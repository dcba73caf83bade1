package sessionsql_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sessionsql/postgres/sessionsql"
)

func TestOneOfManyAddsWins(t *testing.T) {
	d := newDatabase(t)
	caches := []*sessionsql.Cache{d.Store(t, nil).Cache("c", nil), d.Store(t, nil).Cache("c", nil)}
	for round := range 20 {
		key := fmt.Sprint(round)
		var winner atomic.Pointer[string]
		atOnce(16, func(i int) {
			owner := fmt.Sprint("owner ", i)
			added, err := caches[i%2].Add(t.Context(), key, []byte(owner), time.Hour)
			must(t, err)
			if added && winner.Swap(&owner) != nil {
				t.Error("two adds won")
			}
		})
		if winner.Load() == nil {
			t.Fatal("no add won")
		}
		wantEntry(t, caches[0], key, *winner.Load())
	}
}

func TestAddReplacesWhatIsDead(t *testing.T) {
	d := newDatabase(t)
	cache := d.Store(t, nil).Cache("c", nil)
	add := func(want bool) {
		t.Helper()
		if added, err := cache.Add(t.Context(), "k", []byte("v"), time.Hour); added != want || err != nil {
			t.Errorf("added: %v, %v; want %v", added, err, want)
		}
	}
	add(true)
	add(false)
	d.setAll("-1 microsecond")
	add(true)
	must(t, cache.Delete(t.Context(), "k"))
	add(true)
	if left := d.entryExpiresIn(t); left < 3590 || left > 3600 {
		t.Errorf("%v seconds left", left)
	}
}
