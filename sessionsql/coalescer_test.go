package sessionsql

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var errInjected = errors.New("injected")

// TestCoalescerNeverCrossesAnswers drives a coalescer through a million calls in random interleavings: duplicates, misses,
// cancelled callers, bad questions, failed batches. The right answer to a question is known to its caller alone, so one that
// is crossed shows.
func TestCoalescerNeverCrossesAnswers(t *testing.T) {
	seed := rand.Uint64()
	if given, err := strconv.ParseUint(os.Getenv("SESSIONSQL_SEED"), 10, 64); err == nil {
		seed = given
	}
	t.Logf("SESSIONSQL_SEED=%d", seed)

	const callers, calls = 100, 10_000
	right := func(question int) (string, error) {
		switch question % 10 {
		case 0:
			return "", ErrNoSession
		case 1:
			return "", errInjected
		}
		return strconv.Itoa(question), nil
	}
	var batches, batched, failures atomic.Int64
	one := func(ctx context.Context, question int) (string, error) {
		if ctx.Err() != nil {
			return "", contextError(ctx, "test")
		}
		return right(question)
	}
	many := func(ctx context.Context, calls []*call[int, string]) {
		batches.Add(1)
		batched.Add(int64(len(calls)))
		if len(calls) > maxBatch {
			t.Errorf("a batch of %d", len(calls))
		}
		bad := false
		for _, each := range calls {
			bad = bad || each.question%10 == 1
		}
		if bad { // the server refuses the batch for one bad question, so each is asked apart
			failures.Add(1)
		}
		for _, each := range calls {
			if bad {
				each.answer, each.apart = "nobody's", true
			} else {
				each.answer, each.err = right(each.question)
			}
		}
	}
	c := newCoalescer("test", one, many, func() (context.Context, func()) { return context.WithCancel(context.Background()) })

	var wait sync.WaitGroup
	for caller := range callers {
		random := rand.New(rand.NewPCG(seed, uint64(caller)))
		wait.Go(func() {
			for range calls {
				question := random.IntN(5000) // duplicates among the callers
				ctx, cancel := context.WithCancel(t.Context())
				cancels := random.IntN(8) == 0
				switch {
				case cancels && random.IntN(2) == 0:
					cancel()
				case cancels:
					go cancel()
				}
				answer, err := c.do(ctx, question)
				cancel()
				want, wantErr := right(question)
				if cancels && errors.Is(err, context.Canceled) {
					continue
				}
				if answer != want || err != wantErr {
					t.Errorf("%d was answered %q, %v; want %q, %v", question, answer, err, want, wantErr)
					return
				}
			}
		})
	}
	wait.Wait()
	// A worker ends after its last callers have their answers, so it may be a little later than they are.
	until(t, func() bool { return c.busy() == 0 && c.waiting() == 0 })
	if batches.Load() == 0 || failures.Load() == 0 {
		t.Error("nothing was batched")
	}
	t.Logf("%d batches of %.1f calls", batches.Load(), float64(batched.Load())/float64(batches.Load()))
}

func TestIdleCoalescerRunsACallAloneOnItsCallersContext(t *testing.T) {
	type mark struct{}
	c := newCoalescer("test",
		func(ctx context.Context, _ int) (any, error) { return ctx.Value(mark{}), nil },
		func(context.Context, []*call[int, any]) { t.Error("a lone call was batched") },
		func() (context.Context, func()) { return context.WithCancel(context.Background()) })
	for range 100 {
		if got, err := c.do(context.WithValue(t.Context(), mark{}, "mine"), 0); got != "mine" || err != nil {
			t.Fatalf("%v, %v", got, err)
		}
	}
}

// hung is a question on which hang's lone calls hang.
const hung = 1_000

// hang is a coalescer whose lone calls of one question hang until they are released.
func hang(t *testing.T) (c *coalescer[int, int], release func(), batchEnded <-chan error) {
	t.Helper()
	released := make(chan struct{})
	ended := make(chan error, 100)
	c = newCoalescer("test",
		func(_ context.Context, question int) (int, error) {
			if question == hung {
				<-released
			}
			return question, nil
		},
		func(ctx context.Context, calls []*call[int, int]) {
			if calls[0].question < 0 {
				<-ctx.Done()
				ended <- ctx.Err()
			}
			for _, each := range calls {
				each.answer = each.question
			}
		},
		func() (context.Context, func()) { return context.WithCancel(context.Background()) })
	return c, sync.OnceFunc(func() { close(released) }), ended
}

func TestHungCallsDoNotHoldUpOthers(t *testing.T) {
	c, release, _ := hang(t)
	var waiting, served sync.WaitGroup
	waiting.Go(func() { _, _ = c.do(context.Background(), hung) })
	until(t, func() bool { return c.busy() == 1 })
	for i := range worthAWorker - 1 { // too few for a worker of their own
		served.Go(func() {
			if got, err := c.do(t.Context(), i); got != i || err != nil {
				t.Errorf("%d was answered %d, %v", i, got, err)
			}
		})
	}
	served.Wait()                                  // while the first one still hangs
	until(t, func() bool { return c.busy() == 0 }) // the hung one counts no more: the next call is sent at once
	release()
	waiting.Wait()
}

func TestBatchEndsWhenAllItsCallersHaveLeft(t *testing.T) {
	c, release, batchEnded := hang(t)
	var wait sync.WaitGroup
	wait.Go(func() { _, _ = c.do(context.Background(), hung) })
	until(t, func() bool { return c.busy() == 1 })
	ctx, leave := context.WithCancel(t.Context())
	for range 3 {
		wait.Go(func() {
			if _, err := c.do(ctx, -1); !errors.Is(err, context.Canceled) {
				t.Errorf("left with %v", err)
			}
		})
	}
	until(t, func() bool { return c.waiting() == 3 })
	release()
	until(t, func() bool { return c.waiting() == 0 })
	leave()
	if err := <-batchEnded; err != context.Canceled {
		t.Errorf("the batch ended with %v", err)
	}
	wait.Wait()
}

func until(t *testing.T, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !condition(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("still not true")
		}
	}
}

func (c *coalescer[Q, A]) busy() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.workers
}

func (c *coalescer[Q, A]) waiting() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.queued
}

func TestRecentWritesAreForgottenOnlyWhenEveryReplicaHasThem(t *testing.T) {
	k := func(i int64) key { return key{id: i} }
	var r recentWrites
	want := func(step string, keys map[int64]bool) {
		t.Helper()
		for id, want := range keys {
			if r.has(k(id)) != want {
				t.Errorf("%s: has(%d) is %v", step, id, !want)
			}
		}
	}
	r.mark(k(1))
	want("written", map[int64]bool{1: true, 2: false})
	r.forget(1000)
	want("position not read yet", map[int64]bool{1: true})
	r.closeGeneration()
	r.mark(k(2)) // after the generation was closed: the position that is read now may not cover it
	r.covered(100)
	r.forget(99)
	want("replica at 99 of 100", map[int64]bool{1: true, 2: true})
	r.forget(100)
	want("replica at 100", map[int64]bool{1: false, 2: true})
	if r.reached(99) || !r.reached(100) {
		t.Error("a replica that lacks what was forgotten would be read from")
	}
	r.closeGeneration()
	r.covered(50) // another primary, which the old one was ahead of
	r.forget(50)
	want("after a failover", map[int64]bool{2: false})
	if !r.reached(50) {
		t.Error("the new primary's replica would never be read from")
	}
	for i := range int64(maxRecentWrites + 2) {
		r.mark(k(i))
	}
	want("beyond the bound", map[int64]bool{maxRecentWrites + 100: true})
	r.closeGeneration()
	r.covered(60)
	r.forget(60)
	want("drained", map[int64]bool{1: false, maxRecentWrites + 100: false})
}

func TestRecentWritesCountForEverySecretOfASession(t *testing.T) {
	a, b := newSecret(), newSecret()
	var r recentWrites
	r.mark(key{id: 1, hash: a.hash()})
	if !r.has(key{id: 1, hash: b.hash()}) {
		t.Error("a session that was rotated would be read back older through its other secret")
	}
}
