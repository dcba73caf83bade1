package sessionsql

import (
	"context"
	"sync"
	"time"
)

// A statementContext is the context of one statement. It ends with its parents or at its limit, and then
// interrupts the statement. It needs one timer for both purposes, where [context.WithTimeout] and
// [context.AfterFunc] need two contexts, because their cost shows in a lone lookup.
type statementContext struct {
	context.Context // the parent, for its values
	deadline        time.Time
	done            chan struct{}
	stops           [3]func() bool // stop the timer and the two listeners to the parents

	mu          sync.Mutex
	err         error
	interrupt   func() // nil while no statement runs
	interrupted bool
}

// newStatementContext returns a context that ends with its parent, at the limit, and with other if that is
// not nil.
func newStatementContext(
	parent context.Context, limit time.Duration, other context.Context,
) *statementContext {
	c := &statementContext{Context: parent, deadline: time.Now().Add(limit), done: make(chan struct{})}
	if sooner, ok := parent.Deadline(); ok && !sooner.After(c.deadline) {
		c.deadline = sooner // needs no timer, because the parent ends first
	} else {
		c.stops[0] = time.AfterFunc(limit, func() { c.end(context.DeadlineExceeded) }).Stop
	}
	if parent.Done() != nil {
		c.stops[1] = context.AfterFunc(parent, func() { c.end(parent.Err()) })
	}
	if other != nil {
		c.stops[2] = context.AfterFunc(other, func() { c.end(other.Err()) })
	}
	return c
}

func (c *statementContext) Deadline() (time.Time, bool) { return c.deadline, true }

func (c *statementContext) Done() <-chan struct{} { return c.done }

func (c *statementContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

func (c *statementContext) end(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = err
	close(c.done)
	if c.interrupt != nil {
		c.interrupt()
		c.interrupted = true
	}
}

// begin sets the function that interrupts the statement when the context ends, and calls it if it has ended.
func (c *statementContext) begin(interrupt func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.interrupt, c.interrupted = interrupt, c.err != nil
	if c.interrupted {
		interrupt()
	}
}

// finish reports whether the statement was interrupted. After it the end of the context interrupts nothing.
func (c *statementContext) finish() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.interrupt = nil
	return c.interrupted
}

// release ends the context and frees its timer and listeners.
func (c *statementContext) release() {
	for _, stop := range c.stops {
		if stop != nil {
			stop()
		}
	}
	c.end(context.Canceled)
}
