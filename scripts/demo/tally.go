package main

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
)

// A tally counts the users' actions and findings.
type tally struct {
	pulse *pulse
	crash crash

	requests, logins, logouts atomic.Int64
	errors                    atomic.Int64 // answers with 5xx, unexpected ones, and none at all

	// These counts are attempts with the right answer.
	counted, together, cameBack, idledOut, outlived          atomic.Int64
	replayed, replaced, forged, malformed, stolen, lateSaves atomic.Int64
	planted                                                  atomic.Int64

	found   [faults]atomic.Int64
	excused int64

	undone  atomic.Int64 // sessions that lost something within the crash's window
	outside atomic.Int64 // lost sessions that the crash had no right to take
	starved int64        // sessions that ended because the outage delayed their keepalive

	mu       sync.Mutex
	doubtful []finding // findings that a stall may excuse, which is known at the end
	examples []string  // the first few faults and errors
}

const maxExamples = 10

// judge counts the findings of known.
func (t *tally) judge(found []finding) {
	for _, f := range found {
		switch {
		case f.crash == inWindow:
			t.undone.Add(1)
			continue
		case f.tolerates == forever:
			t.count(f)
			continue
		}
		t.mu.Lock()
		t.doubtful = append(t.doubtful, f)
		t.mu.Unlock()
	}
}

func (t *tally) count(f finding) {
	t.found[f.fault].Add(1)
	if f.crash == outsideWindow {
		t.outside.Add(1)
	}
	t.example("%v: %s", f.fault, f.detail)
}

// settle decides the doubtful findings after the last answer.
func (t *tally) settle() {
	for _, f := range t.doubtful {
		switch {
		case t.crash.now().keepaliveDelay(f.used, f.due) > f.tolerates:
			t.starved++
		case t.pulse.keepaliveDelay(f.since, f.till) > f.tolerates:
			t.excused++
		default:
			t.count(f)
		}
	}
	t.doubtful = nil
}

// enter counts a request and its error.
func (t *tally) enter(a answer, allowed ...int) {
	t.requests.Add(1)
	t.pulse.felt(stall{from: a.sent, to: a.received})
	answered := slices.Contains(allowed, a.status)
	if t.crash.excuses(a, answered) || answered {
		return
	}
	t.errors.Add(1)
	if a.err != nil {
		t.example("error: %v", a.err)
	} else {
		t.example("error: status %d", a.status)
	}
}

func (t *tally) example(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.examples) < maxExamples {
		t.examples = append(t.examples, fmt.Sprintf(format, args...))
	}
}

// faults returns the number of certain findings so far, and of those in doubt until the end.
func (t *tally) faults() (certain, doubtful int64) {
	for i := range t.found {
		certain += t.found[i].Load()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return certain, int64(len(t.doubtful))
}
