package sessionsql

import (
	"context"
	"sync"
	"time"
)

// statements are the statements under way on a node, in the order of their deadlines. One timer serves all of
// them, because a timer for each would show in the cost of a lone lookup: a timer is set only when a statement
// finds the list empty, and looks after the list until it is empty again.
type statements struct {
	limit time.Duration // bounds each statement

	mu          sync.Mutex
	first, last *statementContext
	timer       *time.Timer // nil while no timer is set
}

// begin returns the context of a new statement. It ends with its parent and at the limit, which is at most
// the node's.
func (s *statements) begin(parent context.Context, limit time.Duration) *statementContext {
	now := time.Now()
	c := &statementContext{
		Context: parent, deadline: now.Add(limit), late: now.Add(s.limit), done: make(chan struct{}), ofNode: s,
	}
	if sooner, ok := parent.Deadline(); ok && sooner.Before(c.deadline) {
		c.deadline = sooner
	}
	s.add(c)
	if limit < s.limit {
		c.stopTimer = time.AfterFunc(limit, func() { c.end(context.DeadlineExceeded) }).Stop
	}
	if parent.Done() != nil {
		c.stopParent = context.AfterFunc(parent, func() { c.end(parent.Err()) })
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
		s.timer = time.AfterFunc(s.limit, s.endLate)
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

// endLate ends the statements whose limit has passed, and sets the timer for the next one.
func (s *statements) endLate() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for c := s.first; c != nil; c = c.next {
		if left := c.late.Sub(now); left > 0 {
			s.timer.Reset(left)
			return
		}
		c.end(context.DeadlineExceeded)
	}
	s.timer = nil
}
