package sessionsql

import (
	"context"
	"time"
)

// detachedContext has the values of one context and the end of another.
type detachedContext struct {
	context.Context
	values context.Context
}

// detached returns a context that has a caller's values and that no caller can end.
func (s *Store) detached(values context.Context, limit time.Duration) (context.Context, func()) {
	ctx, cancel := context.WithTimeoutCause(s.background, limit, &lateError{limit})
	return &detachedContext{ctx, values}, cancel
}

func (c *detachedContext) Value(key any) any {
	if value := c.Context.Value(key); value != nil {
		return value
	}
	return c.values.Value(key)
}
