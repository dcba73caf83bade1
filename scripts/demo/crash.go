package main

import (
	"sync"
	"time"
)

// asyncLoss is how far back a crash of the primary may reach. An asynchronous commit reaches the disk and the
// replicas within three times wal_writer_delay.
const asyncLoss = 600 * time.Millisecond

// moments are the times at which the parts of a crash ended. Zero means not yet.
type moments struct {
	begun    time.Time // the kill of the primary began
	dead     time.Time // no process of the primary was left
	promoted time.Time // a replica was the primary
	over     time.Time // the Store had made a write that waits for a replica
	upkeep   time.Time // keepalive and the reaper had worked again
}

// mayLose reports whether the crash may undo a write. It may not if the answer came before the window, or if
// the request went out after the old primary was dead.
func (m moments) mayLose(a answer) bool {
	return !a.received.Before(m.begun.Add(-asyncLoss)) && !m.after(a)
}

// after reports whether a request began after the old primary was dead, so that its answer shows the
// survivors.
func (m moments) after(a answer) bool { return !m.dead.IsZero() && !a.sent.Before(m.dead) }

// keepaliveDelay returns how late the outage may have made a keepalive for a use at used that was due at due.
func (m moments) keepaliveDelay(used, due time.Time) time.Duration {
	if m.upkeep.IsZero() || due.Before(m.begun) || used.After(m.upkeep) {
		return 0
	}
	return m.upkeep.Sub(used) + delays[0]
}

// A crash is the knowledge of the primary's crash. Its zero value means no crash.
type crash struct {
	mu sync.Mutex
	moments
	leader     string // the promoted server
	writes     absence
	lookups    absence
	failed     int64 // failed requests, those with cookies that open nothing included
	background int64 // failed statements of keepalive and reaper
}

// An absence is the time in which some requests of one kind failed.
type absence struct {
	requests, failed int64
	back             bool
	until            time.Time
}

func (c *crash) now() moments {
	if c == nil {
		return moments{}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.moments
}

// reach notes the current time as a moment.
func (c *crash) reach(moment func(*moments) *time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	*moment(&c.moments) = time.Now()
}

// promote notes the server that has become the primary.
func (c *crash) promote(leader string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leader, c.promoted = leader, time.Now()
}

// recovered notes the end of the outage and the number of failed background statements.
func (c *crash) recovered(failed int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.background, c.upkeep = failed, time.Now()
}

func (c *crash) happened() bool { return !c.now().begun.IsZero() }

// excuses notes an answer, and reports whether the outage explains a failure. The outage ends with the
// Store's first write that waits for a replica, and later failures are errors.
func (c *crash) excuses(a answer, answered bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.begun.IsZero() || a.received.Before(c.begun) || !c.over.IsZero() && a.sent.After(c.over) {
		return false
	}
	switch a.use {
	case writing:
		c.writes.note(a, answered, c.after(a))
	case reading:
		c.lookups.note(a, answered, c.after(a))
	}
	if !answered {
		c.failed++
	}
	return true
}

// note extends the absence to the last failed answer, and at least to the first success.
func (s *absence) note(a answer, answered, after bool) {
	s.requests++
	switch {
	case !answered:
		s.failed++
		s.until = later(s.until, a.received)
	case after && !s.back:
		s.back = true
		s.until = later(s.until, a.received)
	}
}

// away returns the length of the absence from the start of the crash.
func (s *absence) away(begun time.Time) time.Duration { return max(s.until.Sub(begun), 0) }
