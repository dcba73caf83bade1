package sessionsql

import (
	"context"
	"sync"
	"time"
)

// statements are the statements under way on a node. While there are any, a tick looks after their limits and
// their parents. A timer and a listener for each statement would show in the cost of a lone lookup, which
// mostly ends before the next tick.
type statements struct {
	limit time.Duration // bounds each statement

	mu          sync.Mutex
	first, last *statementContext
	timer       *time.Timer // nil while there is no tick
}

// tickInterval bounds how late a statement learns of the end of its context.
const tickInterval = 5 * time.Millisecond

// begin returns the context of a new statement, which ends with its parent and at the limit.
func (s *statements) begin(parent context.Context, limit time.Duration) *statementContext {
	c := &statementContext{
		Context: parent, limit: time.Now().Add(limit), done: make(chan struct{}), statements: s,
	}
	s.add(c)
	if err := parent.Err(); err != nil {
		c.end(err)
	}
	return c
}

// endAll ends the statements under way.
func (s *statements) endAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := s.first; c != nil; c = c.next {
		c.end(context.Canceled)
	}
}

func (s *statements) add(c *statementContext) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.previous = s.last; s.last != nil {
		s.last.next = c
	} else {
		s.first = c
	}
	s.last = c
	if s.timer == nil {
		s.timer = time.AfterFunc(tickInterval, s.tick)
	}
}

func (s *statements) remove(c *statementContext) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.previous != nil {
		c.previous.next = c.next
	} else {
		s.first = c.next
	}
	if c.next != nil {
		c.next.previous = c.previous
	} else {
		s.last = c.previous
	}
}

// tick ends the statements whose limit has passed or whose parent has ended.
func (s *statements) tick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.first == nil {
		s.timer = nil
		return
	}
	now := time.Now()
	for c := s.first; c != nil; c = c.next {
		if err := c.Context.Err(); err != nil {
			c.end(err)
		} else if !now.Before(c.limit) {
			c.end(context.DeadlineExceeded)
		}
	}
	s.timer.Reset(tickInterval)
}
