package coalesce

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sessionsql/postgres/internal/testkit"
)

var (
	errInjected = errors.New("injected")
	errMissing  = errors.New("missing")
)

func detached(values context.Context) (context.Context, func()) { return context.WithCancel(values) }

// right is the answer to a question.
func right(question int) (string, error) {
	switch question % 10 {
	case 0:
		return "", errMissing
	case 1:
		return "", errInjected
	}
	return strconv.Itoa(question), nil
}

// TestGroupNeverCrossesAnswers sends a million calls in random interleavings, with duplicates, misses,
// cancelled callers, bad questions and failed batches. Only the caller knows the right answer to its
// question, so a crossed answer shows.
func TestGroupNeverCrossesAnswers(t *testing.T) {
	const callers, calls = 100, 10_000
	seeded := testkit.Random(t)
	var ones, batches, batched, failures atomic.Int64
	one := func(ctx context.Context, question int) (string, error) {
		ones.Add(1)
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		return right(question)
	}
	many := func(ctx context.Context, calls []*Call[int, string]) {
		batches.Add(1)
		batched.Add(int64(len(calls)))
		if len(calls) > MaxCalls {
			t.Errorf("a batch of %d", len(calls))
		}
		bad := false
		for _, each := range calls {
			bad = bad || each.Question%10 == 1
		}
		if bad { // a server refuses a batch for one bad question, so each caller asks again alone
			failures.Add(1)
		}
		for _, each := range calls {
			if bad {
				each.Answer, each.Err = "nobody's", ErrAlone
			} else {
				each.Answer, each.Err = right(each.Question)
			}
		}
	}
	c := New(Config[int, string]{One: one, Many: many, Context: detached})

	var wait sync.WaitGroup
	for range callers {
		random := testkit.Fork(seeded)
		wait.Go(func() {
			for range calls {
				question := random.IntN(5000) // small enough for duplicates among the callers
				ctx, cancel := context.WithCancel(t.Context())
				cancels := random.IntN(8) == 0
				switch {
				case cancels && random.IntN(2) == 0:
					cancel()
				case cancels:
					go cancel()
				}
				answer, err := c.Do(ctx, question)
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
	// A worker ends shortly after its last callers have their answers.
	testkit.Eventually(t, "all calls have ended", func() bool { return c.busy() == 0 && c.waiting() == 0 })
	if batches.Load() == 0 || failures.Load() == 0 {
		t.Error("no calls shared a batch")
	}
	if trips := c.Trips(); trips != ones.Load()+batches.Load() {
		t.Errorf("%d trips of %d questions and %d batches", trips, ones.Load(), batches.Load())
	}
	t.Logf("%d batches of %.1f calls", batches.Load(), float64(batched.Load())/float64(batches.Load()))
}

func TestIdleGroupRunsACallAloneOnItsCallersContext(t *testing.T) {
	type mark struct{}
	c := New(Config[int, any]{
		One:     func(ctx context.Context, _ int) (any, error) { return ctx.Value(mark{}), nil },
		Many:    func(context.Context, []*Call[int, any]) { t.Error("a lone call was batched") },
		Context: detached,
	})
	for range 100 {
		if got, err := c.Do(context.WithValue(t.Context(), mark{}, "mine"), 0); got != "mine" || err != nil {
			t.Fatalf("Do returned %v, %v", got, err)
		}
	}
}

// hung is the question whose call hangs.
const hung = 1_000

// hang returns a group whose lone calls of the question hung wait for release.
func hang(t *testing.T) (c *Group[int, int], release func(), batchEnded <-chan error) {
	t.Helper()
	released := make(chan struct{})
	ended := make(chan error, 100)
	c = New(Config[int, int]{
		One: func(_ context.Context, question int) (int, error) {
			if question == hung {
				<-released
			}
			return question, nil
		},
		Many: func(ctx context.Context, calls []*Call[int, int]) {
			if calls[0].Question < 0 {
				<-ctx.Done()
				ended <- ctx.Err()
			}
			for _, each := range calls {
				each.Answer = each.Question
			}
		},
		Context: detached,
	})
	return c, sync.OnceFunc(func() { close(released) }), ended
}

func TestHungCallsDoNotHoldUpOthers(t *testing.T) {
	c, release, _ := hang(t)
	var waiting, served sync.WaitGroup
	waiting.Go(func() { _, _ = c.Do(context.Background(), hung) })
	testkit.Eventually(t, "a worker is busy", func() bool { return c.busy() == 1 })
	for i := range callsPerWorker - 1 { // too few to start another worker
		served.Go(func() {
			if got, err := c.Do(t.Context(), i); got != i || err != nil {
				t.Errorf("%d was answered %d, %v", i, got, err)
			}
		})
	}
	served.Wait() // while the hung call still waits
	// A hung worker does not count as busy, so the next call is sent at once.
	testkit.Eventually(t, "no worker is busy", func() bool { return c.busy() == 0 })
	release()
	waiting.Wait()
}

func TestBatchEndsWhenAllItsCallersHaveLeft(t *testing.T) {
	c, release, batchEnded := hang(t)
	var wait sync.WaitGroup
	wait.Go(func() { _, _ = c.Do(context.Background(), hung) })
	testkit.Eventually(t, "a worker is busy", func() bool { return c.busy() == 1 })
	ctx, leave := context.WithCancel(t.Context())
	for range 3 {
		wait.Go(func() {
			if _, err := c.Do(ctx, -1); !errors.Is(err, context.Canceled) {
				t.Errorf("the caller left with %v", err)
			}
		})
	}
	testkit.Eventually(t, "three calls wait", func() bool { return c.waiting() == 3 })
	release()
	testkit.Eventually(t, "no call waits", func() bool { return c.waiting() == 0 })
	leave()
	if err := <-batchEnded; err != context.Canceled {
		t.Errorf("the batch ended with %v", err)
	}
	wait.Wait()
}

func (c *Group[Q, A]) busy() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.workers
}

func (c *Group[Q, A]) waiting() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.queued
}

// gathered makes a group send the questions in one batch, and returns each caller's answer, error or panic.
func gathered(t *testing.T, config Config[int, int], questions ...int) []any {
	t.Helper()
	hold := make(chan struct{})
	one := config.One
	config.Context = detached
	config.One = func(ctx context.Context, question int) (int, error) {
		if question == hung {
			<-hold
			return 0, nil
		}
		return one(ctx, question)
	}
	g := New(config)
	var wait sync.WaitGroup
	wait.Go(func() { _, _ = g.Do(context.Background(), hung) })
	testkit.Eventually(t, "a worker is busy", func() bool { return g.busy() == 1 })
	got := make([]any, len(questions))
	for i, question := range questions {
		wait.Go(func() {
			defer func() {
				if p := recover(); p != nil {
					got[i] = p
				}
			}()
			answer, err := g.Do(t.Context(), question)
			if got[i] = answer; err != nil {
				got[i] = err
			}
		})
		testkit.Eventually(t, "the call waits", func() bool { return g.waiting() == i+1 })
	}
	close(hold)
	wait.Wait()
	testkit.Eventually(t, "no worker is busy", func() bool { return g.busy() == 0 })
	return got
}

func TestAPanicInABatchReachesEachOfItsCallersAndNobodyElse(t *testing.T) {
	got := gathered(t, Config[int, int]{
		One:  func(_ context.Context, question int) (int, error) { return question, nil },
		Many: func(context.Context, []*Call[int, int]) { panic("a driver's hook") },
	}, 1, 2, 3)
	for i, got := range got {
		if got != "a driver's hook" {
			t.Errorf("caller %d got %v", i, got)
		}
	}
}

func TestABatchIsBoundedInBytes(t *testing.T) {
	var mu sync.Mutex
	var sizes [][]int
	send := func(questions ...int) {
		mu.Lock()
		defer mu.Unlock()
		sizes = append(sizes, questions)
	}
	gathered(t, Config[int, int]{
		One: func(_ context.Context, question int) (int, error) { send(question); return question, nil },
		Many: func(_ context.Context, calls []*Call[int, int]) {
			var questions []int
			for _, each := range calls {
				questions = append(questions, each.Question)
			}
			send(questions...)
		},
		Size:     func(question int) int { return question },
		MaxBytes: 100,
	}, 60, 40, 1, 99, 500, 5, 6)
	slices.SortFunc(sizes, func(a, b []int) int { return slices.Compare(a, b) })
	want := [][]int{{1, 99}, {5, 6}, {60, 40}, {500}}
	if !slices.EqualFunc(sizes, want, slices.Equal) {
		t.Errorf("sent %v, want %v", sizes, want)
	}
}

func TestABatchHasTheValuesOfItsFirstCaller(t *testing.T) {
	type mark struct{}
	seen := make(chan any, 1)
	hold := make(chan struct{})
	g := New(Config[int, int]{
		One:     func(context.Context, int) (int, error) { <-hold; return 0, nil },
		Many:    func(ctx context.Context, _ []*Call[int, int]) { seen <- ctx.Value(mark{}) },
		Context: detached,
	})
	var wait sync.WaitGroup
	wait.Go(func() { _, _ = g.Do(context.Background(), 0) })
	testkit.Eventually(t, "a worker is busy", func() bool { return g.busy() == 1 })
	for i, value := range []string{"first", "second"} {
		wait.Go(func() { _, _ = g.Do(context.WithValue(t.Context(), mark{}, value), 0) })
		testkit.Eventually(t, "the call waits", func() bool { return g.waiting() == i+1 })
	}
	close(hold)
	if got := <-seen; got != "first" {
		t.Errorf("the batch has the values of %v", got)
	}
	wait.Wait()
}

// TestPartsMakeBatchesLarger counts the calls of batches for a server that cuts each into four parts.
func TestPartsMakeBatchesLarger(t *testing.T) {
	const parts = 4
	var largest atomic.Int64
	c := New(Config[int, int]{
		One: func(_ context.Context, question int) (int, error) { return question, nil },
		Many: func(_ context.Context, calls []*Call[int, int]) {
			largest.Store(max(largest.Load(), int64(len(calls))))
			time.Sleep(time.Millisecond) // as a server would take, so that calls gather
			for _, each := range calls {
				each.Answer = each.Question
			}
		},
		Context: detached,
		Parts:   func() int { return parts },
	})
	testkit.Eventually(t, "a batch is larger than one part", func() bool {
		var wait sync.WaitGroup
		for i := range 2 * parts * MaxCalls {
			wait.Go(func() {
				if got, err := c.Do(t.Context(), i); got != i || err != nil {
					t.Errorf("%d was answered %d, %v", i, got, err)
				}
			})
		}
		wait.Wait()
		return largest.Load() > MaxCalls
	})
	if n := largest.Load(); n > parts*MaxCalls {
		t.Errorf("a batch of %d", n)
	}
}
