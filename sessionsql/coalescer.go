package sessionsql

import (
	"context"
	"sync"
	"time"
)

// A coalescer lets calls that are made at the same moment share round trips. There is no timer: a call that finds a free
// worker is sent at once, alone, on its caller's own context; while all workers are busy, calls gather, and the next worker
// that is free takes them together.
//
// One caller never fails another: a batch runs on a context of its own, a caller whose context ends leaves alone, and it is
// for runMany to answer every call of a batch by itself. When all callers of a batch have left, its context is cancelled.
type coalescer[Q, A any] struct {
	op      string
	runOne  func(ctx context.Context, question Q) (A, error)
	runMany func(ctx context.Context, calls []*call[Q, A])
	context func() (context.Context, func())

	mu      sync.Mutex
	queue   []*call[Q, A]
	workers int
	taken   int         // batches so far
	stall   *time.Timer // while there is a queue; see watch
}

// Two workers keep the server busy while the results of the other are handed out; with more, batches only get smaller
// (measured by scripts/bench.sh). 64 in a batch is where the cost of one more stops falling.
const (
	maxWorkers = 2
	maxBatch   = 64

	// stallTimeout is how long a queue may stand still before it gets another worker: on a connection that answers no more, a
	// worker hangs as long as its caller lets it, and must not hold up the others.
	stallTimeout = time.Second
)

// A call is one caller's question and, when done is readable, the answer.
type call[Q, A any] struct {
	question Q
	answer   A
	err      error
	done     chan struct{}

	left  bool   // the caller's context ended; guarded by the coalescer's mutex, as is batch
	batch *batch // what the call travels with, once it does
}

// A batch counts the callers that still wait for it.
type batch struct {
	waiting int
	cancel  func()
}

func newCoalescer[Q, A any](
	op string,
	runOne func(context.Context, Q) (A, error),
	runMany func(context.Context, []*call[Q, A]),
	batchContext func() (context.Context, func()),
) *coalescer[Q, A] {
	return &coalescer[Q, A]{op: op, runOne: runOne, runMany: runMany, context: batchContext}
}

// do answers one question. The error is that of runOne or runMany, or the cause of ctx's end.
func (c *coalescer[Q, A]) do(ctx context.Context, question Q) (A, error) {
	c.mu.Lock()
	if c.workers < maxWorkers && len(c.queue) == 0 {
		c.workers++
		c.mu.Unlock()
		defer c.release()
		return c.runOne(ctx, question)
	}
	mine := &call[Q, A]{question: question, done: make(chan struct{})}
	c.queue = append(c.queue, mine)
	if len(c.queue) == 1 {
		c.watch()
	}
	c.mu.Unlock()

	select {
	case <-mine.done:
		return mine.answer, mine.err
	case <-ctx.Done():
		c.leave(mine)
		var none A
		return none, contextError(ctx, c.op)
	}
}

// watch has a queue looked at after a while: if nothing was taken from it by then, it gets another worker. The mutex is held.
func (c *coalescer[Q, A]) watch() {
	c.unwatch()
	before := c.taken
	c.stall = time.AfterFunc(stallTimeout, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.taken == before {
			c.addWorker()
		}
		if len(c.queue) > 0 {
			c.watch()
		}
	})
}

// unwatch is for a queue that is empty.
func (c *coalescer[Q, A]) unwatch() {
	if c.stall != nil {
		c.stall.Stop()
	}
}

// relieve gives the queue a worker beyond the usual ones.
func (c *coalescer[Q, A]) relieve() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.addWorker()
}

func (c *coalescer[Q, A]) addWorker() {
	if len(c.queue) > 0 {
		c.workers++
		go c.work()
	}
}

// leave takes a caller out of its batch, or marks its call in the queue as not worth sending.
func (c *coalescer[Q, A]) leave(mine *call[Q, A]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	mine.left = true
	if mine.batch != nil {
		if mine.batch.waiting--; mine.batch.waiting == 0 {
			mine.batch.cancel()
		}
	}
}

// release gives the place of a lone call to what has gathered meanwhile.
func (c *coalescer[Q, A]) release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) > 0 {
		go c.work()
		return
	}
	c.workers--
}

// work runs batches until none is left.
func (c *coalescer[Q, A]) work() {
	for {
		ctx, cancel := c.context()
		calls := c.take(cancel)
		if calls == nil {
			cancel()
			return
		}
		c.runMany(ctx, calls)
		cancel()
		for _, each := range calls {
			close(each.done)
		}
	}
}

// take returns the next batch, without calls whose caller has left; nil ends the worker.
func (c *coalescer[Q, A]) take(cancel func()) []*call[Q, A] {
	c.mu.Lock()
	defer c.mu.Unlock()
	together := &batch{cancel: cancel}
	c.taken++
	calls := make([]*call[Q, A], 0, min(len(c.queue), maxBatch))
	taken := 0
	for _, each := range c.queue {
		if len(calls) == maxBatch {
			break
		}
		taken++
		if !each.left {
			each.batch = together
			calls = append(calls, each)
		}
	}
	if taken == len(c.queue) {
		c.queue = nil
	} else {
		c.queue = c.queue[taken:]
	}
	if len(calls) == 0 {
		c.unwatch()
		c.workers--
		return nil
	}
	together.waiting = len(calls)
	return calls
}
