package main

import (
	"sync"
	"time"
)

// asyncLoss is how far back a crash of the primary may reach: a commit that waits for nothing is on its way
// to disk and to the replicas within three times wal_writer_delay, which is 200 ms.
const asyncLoss = 600 * time.Millisecond

// moments are when the parts of a crash were over; zero means not yet.
type moments struct {
	begun    time.Time // the primary was about to be killed
	dead     time.Time // no process of it was left
	promoted time.Time // a replica had become the primary
	over     time.Time // the Store had done a write that waits for a replica
	upkeep   time.Time // keepalive and the reaper had worked again
}

// mayLose reports whether the crash may undo a write: it does not where the answer came before the window, or
// where the request went out when the old primary was dead.
func (m moments) mayLose(a answer) bool {
	return !a.received.Before(m.begun.Add(-asyncLoss)) && !m.after(a)
}

// after reports whether a request found the old primary dead, so that what it shows has survived.
func (m moments) after(a answer) bool { return !m.dead.IsZero() && !a.sent.Before(m.dead) }

// keepaliveDelay is how late the outage may have made a keepalive that was called for at used, and due at the
// latest at due.
func (m moments) keepaliveDelay(used, due time.Time) time.Duration {
	if m.upkeep.IsZero() || due.Before(m.begun) || used.After(m.upkeep) {
		return 0
	}
	return m.upkeep.Sub(used) + delays[0]
}

// crash is what is known of the crash of the primary. The zero value is one that has not happened.
type crash struct {
	mu sync.Mutex
	moments
	leader     string // the server that was promoted
	writes     absence
	lookups    absence
	failed     int64 // requests that the outage failed, those with cookies that open nothing included
	background int64 // statements of keepalive and reaper that it failed
}

// absence is how long requests of one kind were not, or not all, answered.
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

// reach notes a moment.
func (c *crash) reach(moment func(*moments) *time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	*moment(&c.moments) = time.Now()
}

// promote notes which server has become the primary.
func (c *crash) promote(leader string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leader, c.promoted = leader, time.Now()
}

// recovered notes that everything works again, and how many statements in the background had failed.
func (c *crash) recovered(failed int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.background, c.upkeep = failed, time.Now()
}

func (c *crash) happened() bool { return !c.now().begun.IsZero() }

// excuses notes an answer, and reports whether the outage explains that it failed. The outage ends when the
// Store has done a write that waits for a replica: a request that is sent after that and fails is an error.
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

// note: requests are away until the last one that failed was answered, and at least until the first one
// succeeds.
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

// away is for how long after the crash began.
func (s *absence) away(begun time.Time) time.Duration { return max(s.until.Sub(begun), 0) }
