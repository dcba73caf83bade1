package main

import "time"

// rules are the timeouts that the site keeps and that its users know.
type rules struct {
	idle     time.Duration // the idle timeout T
	flush    time.Duration // how often used sessions are kept alive
	reap     time.Duration
	lifetime time.Duration // the absolute timeout of a session on a public computer
}

// rulesOfLoad are so short that many sessions meet each of them within the default 20 s. The keepalive has
// the relation to the idle timeout that the Store gives it by itself.
var rulesOfLoad = rules{
	idle: 3 * time.Second, flush: 300 * time.Millisecond, reap: time.Second,
	lifetime: 5 * time.Second,
}

// rulesOfServe are for a person with a browser.
var rulesOfServe = rules{
	idle: 30 * time.Second, flush: 3 * time.Second, reap: 10 * time.Second,
	lifetime: time.Minute,
}

// longest is how long a session lives after a use at most: T and the slack of T/3.
func (r rules) longest() time.Duration { return r.idle * 4 / 3 }

// flushedWithin is when a use has reached the database at the latest, if the machine delays a keepalive by no
// more than delay: the Store varies its interval by a tenth.
func (r rules) flushedWithin(delay time.Duration) time.Duration { return r.flush*11/10 + delay }

// roomFor is what must be left of a session when it is used, so that a keepalive with that delay finds it. A
// short one finds it in any case, because the Store does not let a session wait for the next flush that has
// less than two intervals left.
func (r rules) roomFor(delay time.Duration) time.Duration {
	if delay < r.flush*9/10 {
		return delay
	}
	return r.flushedWithin(delay)
}

// delays are how late a keepalive may come. The first is what any machine may need; the others are for one
// that stalls. Under the last no keepalive counts, and only writes do, which the user saw answered.
var delays = [...]time.Duration{
	250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second,
	forever,
}

const (
	forever = 1000 * time.Hour

	// clockAllowance is for the difference between the database's clock and the users', over a few seconds.
	clockAllowance = 20 * time.Millisecond
)
