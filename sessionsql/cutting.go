package sessionsql

import (
	"context"
	"sync"
	"time"
)

// cutting is the context of one statement. It ends with its parents or at its limit, and then cuts the
// statement's connection short. It does with one timer what [context.WithTimeout] and [context.AfterFunc] do
// with two contexts, because a lone lookup feels the difference.
type cutting struct {
	context.Context // its parent, for its values
	deadline        time.Time
	done            chan struct{}
	stops           [3]func() bool // stop the timer, and listening to the parents

	mu    sync.Mutex
	err   error
	cut   func() // ends what is under way; nil while nothing is
	isCut bool
}

// newCutting returns a context that ends with its parent, at the limit, and with other, if there is one.
func newCutting(parent context.Context, limit time.Duration, other context.Context) *cutting {
	c := &cutting{Context: parent, deadline: time.Now().Add(limit), done: make(chan struct{})}
	if sooner, ok := parent.Deadline(); ok && !sooner.After(c.deadline) {
		c.deadline = sooner // and the parent's own end comes first
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

// Deadline implements [context.Context].
func (c *cutting) Deadline() (time.Time, bool) { return c.deadline, true }

// Done implements [context.Context].
func (c *cutting) Done() <-chan struct{} { return c.done }

// Err implements [context.Context].
func (c *cutting) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

func (c *cutting) end(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = err
	close(c.done)
	if c.cut != nil {
		c.cut()
		c.isCut = true
	}
}

// begin has the end of the context cut short what begins now.
func (c *cutting) begin(cut func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut, c.isCut = cut, c.err != nil
	if c.isCut {
		cut()
	}
}

// finish reports whether it was cut short; from here on it is not.
func (c *cutting) finish() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = nil
	return c.isCut
}

// release ends the context, and gives back what it holds.
func (c *cutting) release() {
	for _, stop := range c.stops {
		if stop != nil {
			stop()
		}
	}
	c.end(context.Canceled)
}
