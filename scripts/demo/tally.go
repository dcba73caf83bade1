package main

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
)

// tally counts what the users did and found.
type tally struct {
	pulse *pulse
	crash crash

	requests, logins, logouts atomic.Int64
	errors                    atomic.Int64 // 5xx, an answer that no page gives, or none

	// What was tried, and answered as it must be.
	counted, together, cameBack, idledOut, outlived          atomic.Int64
	replayed, replaced, forged, malformed, stolen, lateSaves atomic.Int64
	planted                                                  atomic.Int64

	found   [faults]atomic.Int64
	excused int64

	undone  atomic.Int64 // sessions of which the crash took something within its window
	outside atomic.Int64 // of those lost, the ones that the crash would have had to leave
	starved int64        // sessions that ended because the outage kept their keepalive from being written

	mu       sync.Mutex
	doubtful []finding // that a stall may excuse, which is known when all answers are there
	examples []string  // the first few faults and errors
}

const maxExamples = 10

// judge enters what known found.
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

// settle decides what was doubtful. It comes after the last answer.
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

// enter counts a request, and its error if it had one.
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

// faults counts what was found so far, and apart from it what is in doubt until the end.
func (t *tally) faults() (certain, doubtful int64) {
	for i := range t.found {
		certain += t.found[i].Load()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return certain, int64(len(t.doubtful))
}
