// Package coalesce lets concurrent calls share round trips. It does not know the meaning of their questions.
package coalesce

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// ErrAlone is the error that Config.Many sets on an unanswered call. The caller retries alone.
var ErrAlone = errors.New("coalesce: retry alone")

// A Config says how a Group sends its questions.
type Config[Q, A any] struct {
	// One answers a lone question, on its caller's context.
	One func(ctx context.Context, question Q) (A, error)

	// Many answers the calls of a batch: it sets Answer or Err of each.
	Many func(ctx context.Context, calls []*Call[Q, A])

	// Context makes the context of a batch, which no caller can end, with the values of its first caller.
	Context func(values context.Context) (ctx context.Context, cancel func())

	// Left returns the error of a caller whose context has ended. Defaults to the context's cause.
	Left func(ctx context.Context) error

	// Parts returns the number of parts into which the server cuts a batch. Each part costs as much as a
	// batch, so batches become larger by this factor. Defaults to 1.
	Parts func() int

	// Size returns the bytes of a question, and MaxBytes bounds the bytes of a batch of several questions.
	// Without them the bytes are not bounded.
	Size     func(question Q) int
	MaxBytes int
}

// A Call is the question of one caller and, once its batch is done, the answer.
type Call[Q, A any] struct {
	Question Q
	Answer   A
	Err      error

	left     bool // the caller's context ended before its batch was sent
	panicked any  // the value of a panic in the batch
}

// A Group shares round trips among its callers. It has no timer: a call that finds the group idle is sent at
// once, alone, on its caller's context. While a call is under way, others gather in batches. A worker that is
// done takes the oldest batch, and when enough calls wait, a second worker takes one at once.
//
// No caller makes another fail. A caller whose context ends leaves alone, and when all callers of a batch
// have left, the batch's context ends. A batch of one goes to Config.One. A panic in a batch is raised again
// in each of its callers.
type Group[Q, A any] struct {
	config Config[Q, A]
	trips  atomic.Int64

	mu         sync.Mutex
	queue      []*batch[Q, A]
	queued     int // calls in the queue
	workers    int
	generation int         // counts how often the workers were abandoned
	taken      int         // counts how often a worker came to the queue
	stall      *time.Timer // runs while the queue is not empty
}

func New[Q, A any](config Config[Q, A]) *Group[Q, A] {
	if config.Left == nil {
		config.Left = context.Cause
	}
	if config.Parts == nil {
		config.Parts = func() int { return 1 }
	}
	if config.Size == nil || config.MaxBytes <= 0 {
		config.Size = func(Q) int { return 0 }
	}
	return &Group[Q, A]{config: config}
}

// Trips returns how often One or Many was called. It is less often than Do when callers shared round trips.
func (g *Group[Q, A]) Trips() int64 { return g.trips.Load() }

// Do answers one question. The error is that of One or Many, or that of Left when ctx ends first.
func (g *Group[Q, A]) Do(ctx context.Context, question Q) (A, error) {
	g.mu.Lock()
	if g.workers == 0 {
		g.workers++
		generation := g.generation
		g.mu.Unlock()
		defer g.release(generation)
		return g.one(ctx, question)
	}
	call := &Call[Q, A]{Question: question}
	joined := g.join(ctx, call)
	g.mu.Unlock()

	select {
	case <-joined.done:
		switch {
		case call.panicked != nil:
			panic(call.panicked)
		case call.Err == ErrAlone:
			return g.one(ctx, question)
		}
		return call.Answer, call.Err
	case <-ctx.Done():
		g.leave(joined, call)
		var none A
		return none, g.config.Left(ctx)
	}
}

func (g *Group[Q, A]) one(ctx context.Context, question Q) (A, error) {
	g.trips.Add(1)
	return g.config.One(ctx, question)
}

// Abandon starts a new worker for the queue and waits for none of the present ones.
func (g *Group[Q, A]) Abandon() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.abandon()
}
