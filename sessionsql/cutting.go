package sessionsql

import (
	"context"
	"net"
	"sync"
	"time"
)

// cutting is the context of one statement. It ends with its parents or at its limit, and then cuts the
// statement's connection short. It does with one timer what [context.WithTimeout] and [context.AfterFunc] do
// with two contexts, because a lone lookup feels the difference.
type cutting struct {
	context.Context                 // its parent, for its values
	other           context.Context // another parent, or nil
	deadline        time.Time
	done            chan struct{}
	stops           [3]func() bool // stop the timer, and listening to the parents

	mu     sync.Mutex
	err    error
	socket net.Conn // of the statement under way
	isCut  bool
}

// newCutting returns a context that ends with its parent, at the limit, and with other, if there is one.
func newCutting(parent context.Context, limit time.Duration, other context.Context) *cutting {
	c := &cutting{Context: parent, other: other, deadline: time.Now().Add(limit), done: make(chan struct{})}
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
	c.cutLocked()
}

// cut has the end of the context end what is under way on a socket.
func (c *cutting) cut(socket net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.socket, c.isCut = socket, false
	if c.err != nil {
		c.cutLocked()
	}
}

func (c *cutting) cutLocked() {
	if c.socket != nil {
		_ = c.socket.SetDeadline(time.Unix(1, 0))
		c.isCut = true
	}
}

// uncut lets the socket go. Where the answer was there before the end, the connection is as good as before.
func (c *cutting) uncut(closed func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.isCut && !closed() {
		_ = c.socket.SetDeadline(time.Time{})
	}
	c.socket = nil
}

// standard returns a context of the standard library that ends when this one does: others start a goroutine to
// listen to one that is not.
func (c *cutting) standard() (context.Context, context.CancelFunc) {
	ctx, end := context.WithDeadline(c.Context, c.deadline)
	if c.other == nil {
		return ctx, end
	}
	stop := context.AfterFunc(c.other, end)
	return ctx, func() { stop(); end() }
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
