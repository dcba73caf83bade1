// Package coalesce lets calls that are made at the same moment share round trips. It knows nothing of what they ask.
package coalesce

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// ErrAlone is what Config.Many sets on a call that the batch gave no answer to: its caller retries alone.
var ErrAlone = errors.New("coalesce: retry alone")

// A Config says how a Group sends its questions.
type Config[Q, A any] struct {
	// One answers a lone question, on its caller's context.
	One func(ctx context.Context, question Q) (A, error)

	// Many answers the calls of a batch: it sets Answer or Err of each.
	Many func(ctx context.Context, calls []*Call[Q, A])

	// Context makes the context of a batch, which no caller may end. Its values are those of the batch's first caller.
	Context func(values context.Context) (ctx context.Context, cancel func())

	// Left returns the error of a caller whose context has ended. Defaults to the context's error.
	Left func(ctx context.Context) error

	// Size returns what a question adds to the bytes of its batch, and MaxBytes is the most that a batch of several
	// holds. Default to no bound.
	Size     func(question Q) int
	MaxBytes int
}

const (
	// MaxCalls is the most calls in a batch: there the cost of one more stops falling.
	MaxCalls = 64

	// A second worker starts when this many calls wait: the server then works on one batch while the answers of the
	// other are handed out. More workers, or earlier ones, gain nothing and make batches small.
	worthAWorker = 24
	maxWorkers   = 2

	// A worker can block on a dead connection or on a locked row. When a queue has not moved for this long, its workers
	// are abandoned and another one is started.
	stallTimeout = 100 * time.Millisecond
)

// A Call is one caller's question and, once its batch is done, the answer.
type Call[Q, A any] struct {
	Question Q
	Answer   A
	Err      error

	left     bool // the caller's context ended before the batch was taken
	panicked any
}

// A batch is what travels together. Its fields but done are guarded by the group's mutex.
type batch[Q, A any] struct {
	calls   []*Call[Q, A]
	bytes   int
	values  context.Context
	waiting int           // callers that still want an answer
	cancel  func()        // set once it travels
	done    chan struct{} // closed when every call has its answer: one wake-up for all
}

// A Group shares round trips among its callers. There is no timer: a call that finds the group idle is sent at once, alone,
// on its caller's context. While one is under way, calls gather in batches. A worker that comes back takes the oldest
// batch, and when enough calls wait, another worker takes one at once.
//
// One caller never fails another. A caller whose context ends leaves alone, and when all callers of a batch have left, the
// batch's context is cancelled. A batch of one goes to Config.One. A panic in a batch is raised again in each of its callers.
type Group[Q, A any] struct {
	config Config[Q, A]
	trips  atomic.Int64

	mu         sync.Mutex
	queue      []*batch[Q, A]
	queued     int // calls in the queue
	workers    int
	generation int         // counts how often all workers were abandoned
	taken      int         // counts batches
	stall      *time.Timer // runs while there is a queue
}

// New returns an idle Group.
func New[Q, A any](config Config[Q, A]) *Group[Q, A] {
	if config.Left == nil {
		config.Left = context.Cause
	}
	if config.Size == nil || config.MaxBytes <= 0 {
		config.Size = func(Q) int { return 0 }
	}
	return &Group[Q, A]{config: config}
}

// Trips returns how often One or Many was called: fewer times than Do where callers shared round trips.
func (g *Group[Q, A]) Trips() int64 { return g.trips.Load() }

// one asks a lone question.
func (g *Group[Q, A]) one(ctx context.Context, question Q) (A, error) {
	g.trips.Add(1)
	return g.config.One(ctx, question)
}

// Do answers one question. The error is that of One or Many, or of Left when ctx ends first.
func (g *Group[Q, A]) Do(ctx context.Context, question Q) (A, error) {
	g.mu.Lock()
	if g.workers == 0 {
		g.workers++
		generation := g.generation
		g.mu.Unlock()
		defer g.release(generation)
		return g.one(ctx, question)
	}
	mine := &Call[Q, A]{Question: question}
	together := g.join(ctx, mine)
	g.mu.Unlock()

	select {
	case <-together.done:
		switch {
		case mine.panicked != nil:
			panic(mine.panicked)
		case mine.Err == ErrAlone:
			return g.one(ctx, question)
		}
		return mine.Answer, mine.Err
	case <-ctx.Done():
		g.leave(together, mine)
		var none A
		return none, g.config.Left(ctx)
	}
}

// Abandon starts a new worker for the queue and waits for none of the present ones.
func (g *Group[Q, A]) Abandon() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.abandon()
}

// join puts a call into the last batch of the queue, or into a new one behind it. The mutex is held.
func (g *Group[Q, A]) join(ctx context.Context, mine *Call[Q, A]) *batch[Q, A] {
	var last *batch[Q, A]
	size := g.config.Size(mine.Question)
	if n := len(g.queue); n > 0 && g.hasRoom(g.queue[n-1], size) {
		last = g.queue[n-1]
	} else {
		last = &batch[Q, A]{values: context.WithoutCancel(ctx), done: make(chan struct{})}
		g.queue = append(g.queue, last)
		if n == 0 {
			g.watch()
		}
	}
	last.calls = append(last.calls, mine)
	last.bytes += size
	last.waiting++
	g.queued++
	if g.queued >= worthAWorker*g.workers && g.workers < maxWorkers {
		g.addWorker()
	}
	return last
}

func (g *Group[Q, A]) hasRoom(b *batch[Q, A], size int) bool {
	return len(b.calls) < MaxCalls && (size == 0 || b.bytes+size <= g.config.MaxBytes)
}

// leave takes a caller out of its batch. One that is still in the queue does not send its question.
func (g *Group[Q, A]) leave(together *batch[Q, A], mine *Call[Q, A]) {
	g.mu.Lock()
	defer g.mu.Unlock()
	mine.left = true
	together.waiting--
	if together.waiting == 0 && together.cancel != nil {
		together.cancel()
	}
}

// release gives the place of a lone call to what has gathered meanwhile.
func (g *Group[Q, A]) release(generation int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case generation != g.generation:
	case len(g.queue) > 0:
		go g.work(generation)
	default:
		g.workers--
	}
}

// work runs batches until none is left, or until the worker has been abandoned.
func (g *Group[Q, A]) work(generation int) {
	for {
		next := g.take(generation)
		if next == nil {
			return
		}
		g.run(next)
		// Callers often come back with their next question at once. Let them, before the queue is looked at: an idle
		// processor takes this goroutine up again before it takes theirs, so once is not enough.
		runtime.Gosched()
		runtime.Gosched()
	}
}

// run sends a batch, and wakes its callers.
func (g *Group[Q, A]) run(next *batch[Q, A]) {
	ctx, cancel := g.config.Context(next.values)
	calls := g.depart(next, cancel)
	defer func() {
		if p := recover(); p != nil {
			for _, each := range calls {
				each.panicked = p
			}
		}
		cancel()
		close(next.done)
	}()
	switch len(calls) {
	case 0:
	case 1:
		calls[0].Answer, calls[0].Err = g.one(ctx, calls[0].Question)
	default:
		g.trips.Add(1)
		g.config.Many(ctx, calls)
	}
}

// take returns the oldest batch; nil ends the worker.
func (g *Group[Q, A]) take(generation int) *batch[Q, A] {
	g.mu.Lock()
	defer g.mu.Unlock()
	if generation != g.generation {
		return nil
	}
	g.taken++
	if len(g.queue) == 0 {
		g.stopWatch()
		g.workers--
		return nil
	}
	next := g.queue[0]
	g.queue[0] = nil
	if g.queue = g.queue[1:]; len(g.queue) == 0 {
		g.queue = nil
	}
	g.queued -= len(next.calls)
	return next
}

// depart returns the calls of a batch without those whose caller has left. From here on, the last one to leave cancels it.
func (g *Group[Q, A]) depart(next *batch[Q, A], cancel func()) []*Call[Q, A] {
	g.mu.Lock()
	defer g.mu.Unlock()
	next.cancel = cancel
	if next.waiting == len(next.calls) {
		return next.calls
	}
	calls := make([]*Call[Q, A], 0, next.waiting)
	for _, each := range next.calls {
		if !each.left {
			calls = append(calls, each)
		}
	}
	return calls
}

// watch abandons the workers if nothing has been taken from the queue after a while. The mutex is held.
func (g *Group[Q, A]) watch() {
	g.stopWatch()
	before := g.taken
	g.stall = time.AfterFunc(stallTimeout, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.taken == before {
			g.abandon()
		}
		if len(g.queue) > 0 {
			g.watch()
		}
	})
}

func (g *Group[Q, A]) stopWatch() {
	if g.stall != nil {
		g.stall.Stop()
	}
}

// abandon counts the present workers no more and starts a new one. The mutex is held.
func (g *Group[Q, A]) abandon() {
	g.generation++
	g.workers = 0
	g.addWorker()
}

func (g *Group[Q, A]) addWorker() {
	if len(g.queue) > 0 {
		g.workers++
		go g.work(g.generation)
	}
}
