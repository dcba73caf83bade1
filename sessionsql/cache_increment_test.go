package sessionsql_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/sessionsql/postgres/sessionsql"
)

func TestNoIncrementOfTwoProgramsIsLost(t *testing.T) {
	d := newDatabase(t)
	caches := []*sessionsql.Cache{d.Store(t, nil).Cache("c", nil), d.Store(t, nil).Cache("c", nil)}
	seen := make([]bool, 3201)
	sums := make(chan int64, 3200)
	atOnce(16, func(i int) {
		for range 200 {
			sum, err := caches[i%2].Increment(t.Context(), "k", 1, time.Hour)
			must(t, err)
			sums <- sum
		}
	})
	close(sums)
	for sum := range sums {
		if seen[sum] {
			t.Errorf("%d was returned twice", sum)
		}
		seen[sum] = true
	}
	wantEntry(t, caches[0], "k", "3200")
}

func TestIncrementCountsFromWhereverItIs(t *testing.T) {
	d := newDatabase(t)
	ctx, cache := t.Context(), d.Store(t, nil).Cache("c", nil)
	want := func(delta, want int64) {
		t.Helper()
		if sum, err := cache.Increment(ctx, "k", delta, time.Hour); sum != want || err != nil {
			t.Errorf("the sum is %d, %v; want %d", sum, err, want)
		}
	}
	want(-3, -3)
	d.setAll("10 minutes")
	want(5, 2) // the TTL is given at birth only
	if left := d.entryExpiresIn(t); left > 600 {
		t.Errorf("%v seconds left", left)
	}
	d.setAll("-1 microsecond")
	want(7, 7)
	mustSet(t, cache, "k", "40", 0)
	want(2, 42)
	mustSet(t, cache, "k", "0", 0)
	want(math.MaxInt64, math.MaxInt64)
}

func TestIncrementRefusesWhatIsNoNumber(t *testing.T) {
	d := newDatabase(t)
	cache := d.Store(t, nil).Cache("c", nil)
	for value, state := range map[string]string{
		"canary": "22P02", "": "22P02", "1.5": "22P02", "\xff": "22P02",
		fmt.Sprint(int64(math.MaxInt64)): "22003", strings.Repeat("9", 30): "22P02",
	} {
		mustSet(t, cache, "k", value, 0)
		_, err := cache.Increment(t.Context(), "k", 1, 0)
		var refused *sessionsql.Error
		if !errors.As(err, &refused) || refused.SQLState != state || quotesCanary(err) ||
			!strings.Contains(err.Error(), "number") && !strings.Contains(err.Error(), "range") {
			t.Errorf("%q: %v", value, err)
		}
		wantEntry(t, cache, "k", value)
	}
}
