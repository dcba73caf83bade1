// Package testkit holds the helpers that tests of every package share. It knows nothing of sessions.
package testkit

import (
	"context"
	"database/sql"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
)

// Patience is how long Eventually waits. It is long because a busy machine may be slow; no test measures it.
const Patience = 30 * time.Second

// Must ends the test on an error.
func Must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// ReadFile returns the text of a file.
func ReadFile(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	Must(t, err)
	return string(text)
}

// Eventually waits until the condition holds, and ends the test after Patience. The text names the condition.
func Eventually(t testing.TB, text string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(Patience); !condition(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still not true: %s", text)
		}
	}
}

// Random returns a source of random numbers and prints its seed. Setting SESSIONSQL_SEED repeats a run.
func Random(t testing.TB) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	if given := os.Getenv("SESSIONSQL_SEED"); given != "" {
		parsed, err := strconv.ParseUint(given, 10, 64)
		if err != nil {
			t.Fatalf("SESSIONSQL_SEED: %v", err)
		}
		seed = parsed
	}
	t.Logf("SESSIONSQL_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// Fork returns a source for one goroutine, because a rand.Rand serves one goroutine at a time.
func Fork(random *rand.Rand) *rand.Rand { return rand.New(rand.NewPCG(random.Uint64(), 0)) }

// Heap returns the bytes of the heap that are in use.
func Heap() int64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// OpenPool opens a pool that closes with the test.
func OpenPool(t testing.TB, dsn string) *sql.DB {
	t.Helper()
	pool, err := sql.Open("pgx", dsn)
	Must(t, err)
	t.Cleanup(func() { _ = pool.Close() })
	return pool
}

// A Queryer is a pool, a connection or a transaction.
type Queryer interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// Get returns the one value that a query answers.
func Get[T any](t testing.TB, on Queryer, query string, args ...any) (value T) {
	t.Helper()
	if err := on.QueryRowContext(t.Context(), query, args...).Scan(&value); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return value
}
