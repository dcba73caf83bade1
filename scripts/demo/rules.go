package main

import "time"

// rules are the timeouts of the site, which its users know.
type rules struct {
	idle     time.Duration // the idle timeout T
	flush    time.Duration // the interval of keepalives
	reap     time.Duration
	lifetime time.Duration // the absolute timeout of a session on a public computer
}

// rulesOfLoad are short, so that many sessions meet each timeout within 20 s. The keepalive's interval
// relates to the idle timeout as in the Store's defaults.
var rulesOfLoad = rules{
	idle: 3 * time.Second, flush: 300 * time.Millisecond, reap: time.Second,
	lifetime: 5 * time.Second,
}

// rulesOfServe suit a person with a browser.
var rulesOfServe = rules{
	idle: 30 * time.Second, flush: 3 * time.Second, reap: 10 * time.Second,
	lifetime: time.Minute,
}

// longest returns the longest life of a session after a use, which is T and the slack of T/3.
func (r rules) longest() time.Duration { return r.idle * 4 / 3 }

// flushedWithin returns the time until a use has reached the database, if the machine delays the keepalive by
// at most delay. The Store varies its interval by a tenth.
func (r rules) flushedWithin(delay time.Duration) time.Duration { return r.flush*11/10 + delay }

// roomFor returns the time that a used session needs, so that a keepalive with this delay finds it alive.
// After a short delay any time is enough, because the Store touches a session with less than two intervals
// left at once.
func (r rules) roomFor(delay time.Duration) time.Duration {
	if delay < r.flush*9/10 {
		return delay
	}
	return r.flushedWithin(delay)
}

// delays are how late a keepalive may come. Any machine may need the first one, and a stalled one the others.
// Under the last one no keepalive counts, only answered writes.
var delays = [...]time.Duration{
	250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second,
	forever,
}

const (
	forever = 1000 * time.Hour

	// clockAllowance covers the difference between the database's clock and the users' over a few seconds.
	clockAllowance = 20 * time.Millisecond
)
