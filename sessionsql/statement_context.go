package sessionsql

import (
	"context"
	"sync"
	"time"
)

// A statementContext is the context of one statement. It ends with its parent, at its limit, or when its node
// ends all statements, and then interrupts the statement.
type statementContext struct {
	context.Context // the parent
	limit           time.Time
	done            chan struct{}
	statements      *statements
	previous, next  *statementContext // guarded by statements

	mu          sync.Mutex
	err         error
	interrupt   func() // nil while no statement runs
	interrupted bool
}

func (c *statementContext) Deadline() (time.Time, bool) {
	if sooner, ok := c.Context.Deadline(); ok && sooner.Before(c.limit) {
		return sooner, true
	}
	return c.limit, true
}

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

// release ends the context and takes it from the statements under way.
func (c *statementContext) release() {
	c.statements.remove(c)
	c.end(context.Canceled)
}
