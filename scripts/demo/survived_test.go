package main

import (
	"slices"
	"testing"
	"time"
)

// A loss is a fault with the crash's part in it.
type loss struct {
	fault fault
	crash verdict
}

var undone, mustNot = loss{lost, inWindow}, loss{lost, outsideWindow}

// crashCases begin with a log-in at 0 s unless they name another time. The primary is killed at 3 s, so the
// window begins at 2.4 s.
var crashCases = []struct {
	name     string
	loggedIn float64
	steps    []step
	want     []loss
}{
	{
		name:  "nothing is lost",
		steps: []step{{view(1, "ann", 1)}, {view(2.9, "ann", 2)}, {view(4, "ann", 3)}},
	},
	{
		name:  "a view in the window",
		steps: []step{{view(2.9, "ann", 1)}, {view(4, "ann", 1)}}, want: []loss{undone},
	},
	{
		name:  "a view that was under way",
		steps: []step{{view(2.95, "ann", 1)}, {glance(4, 0)}}, want: []loss{undone},
	},
	{
		name:  "a view before the window",
		steps: []step{{view(1, "ann", 1)}, {view(4, "ann", 1)}}, want: []loss{mustNot},
	},
	{
		name:  "a view in the window, and one before it",
		steps: []step{{view(1, "ann", 1)}, {view(2.9, "ann", 2)}, {glance(4, 0)}}, want: []loss{mustNot},
	},
	{
		name:  "one of two views that were counted across the crash",
		steps: []step{{view(2.95, "ann", 1), view(3.2, "ann", 1)}, {glance(4, 1)}}, want: []loss{undone},
	},
	{
		name:  "a view that was seen after the crash",
		steps: []step{{view(2.9, "ann", 1)}, {glance(3.5, 1)}, {glance(4, 0)}},
		want:  []loss{{lost, unrelated}},
	},
	{
		name:  "a view after the crash",
		steps: []step{{view(3.5, "ann", 1)}, {glance(4, 0)}}, want: []loss{{lost, unrelated}},
	},
	{name: "a log-in in the window", loggedIn: 2.8, steps: []step{{refusal(3.5)}}, want: []loss{undone}},
	{name: "a log-in before the window", steps: []step{{refusal(3.5)}}, want: []loss{mustNot}},
	{
		name:     "a log-in after the crash",
		loggedIn: 3.2, steps: []step{{refusal(3.5)}}, want: []loss{{lost, unrelated}},
	},
	{
		name:     "somebody else's payload",
		loggedIn: 2.8, steps: []step{{glance(4, 9)}}, want: []loss{{lost, unrelated}},
	},
	{
		name:  "the expiry that a write in the window set",
		steps: []step{{view(2.6, "ann", 1)}, {refusal(4.5)}}, want: []loss{undone},
	},
	{
		name:  "the expiry that was set before that",
		steps: []step{{view(2.6, "ann", 1)}, {refusal(3.5)}}, want: []loss{mustNot},
	},
	{
		name:  "a keepalive in the window",
		steps: []step{{glance(2.2, 0)}, {refusal(4.5)}}, want: []loss{undone},
	},
	{
		name:  "a keepalive before the window",
		steps: []step{{glance(1.7, 0)}, {refusal(4.5)}}, want: []loss{mustNot},
	},
	{
		name:  "a keepalive after the crash",
		steps: []step{{glance(3.3, 0)}, {refusal(5.5)}}, want: []loss{mustNot},
	},
	{
		name:  "a payload and then the session, which is one",
		steps: []step{{view(2.6, "ann", 1)}, {glance(3.2, 0)}, {refusal(6)}},
		want:  []loss{undone, mustNot},
	},
}

func TestJudgeTellsWhatACrashMayUndo(t *testing.T) {
	for _, c := range crashCases {
		t.Run(c.name, func(t *testing.T) {
			login := answer{sent: at(c.loggedIn), received: at(c.loggedIn + 0.1), status: 303}
			k := born("ann", rulesOfLoad, login, false)
			k.crash = &crash{moments: moments{begun: at(3), dead: at(3.1)}}
			var got []loss
			for _, answers := range c.steps {
				for _, f := range k.judge(answers...) {
					got = append(got, loss{f.fault, f.crash})
				}
			}
			if !slices.Equal(got, c.want) {
				t.Fatalf("found %v, want %v", got, c.want)
			}
		})
	}
}

func TestACrashBringsNoLogOutBack(t *testing.T) {
	k := born("ann", rulesOfLoad, answer{sent: at(2.5), received: at(2.6), status: 303}, false)
	k.crash = &crash{moments: moments{begun: at(3), dead: at(3.1)}}
	k.leaving()
	k.ended(at(2.9), "log-out")
	if found := k.judge(glance(3.5, 0)); len(found) != 1 || found[0].fault != resurrected {
		t.Fatalf("found %v", found)
	}
}

// The outage lasts from 3 s to 4 s.
func TestOutageExcusesOnlyWhatItExplains(t *testing.T) {
	outage := moments{begun: at(3), dead: at(3.1), promoted: at(3.5), over: at(3.6), upkeep: at(4)}
	for _, c := range []struct {
		name    string
		used    answer
		refused float64
		starved bool
	}{
		{
			name: "a keepalive that the outage held up for too long",
			used: glance(3.3, 0), refused: 5, starved: true,
		},
		{name: "a keepalive that had the time for it", used: glance(1.4, 0), refused: 4.2},
		{name: "a write that was answered needs no keepalive", used: view(3.7, "ann", 1), refused: 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			tally := &tally{pulse: &pulse{}, crash: crash{moments: outage}}
			k := born("ann", rulesOfLoad, answer{sent: at(0), received: at(0.1), status: 303}, false)
			k.crash = &tally.crash
			tally.judge(k.judge(c.used))
			tally.judge(k.judge(refusal(c.refused)))
			tally.settle()
			counted := tally.found[lost].Load()
			if starved := tally.starved == 1; starved != c.starved || counted+tally.starved != 1 {
				t.Fatalf("%d counted and %d starved", counted, tally.starved)
			}
		})
	}
}

// A request that is sent after the Store writes again must succeed.
func TestOnlyTheOutageExcusesErrors(t *testing.T) {
	request := func(sent float64, use use, status int) answer {
		return answer{sent: at(sent), received: at(sent + 0.1), use: use, status: status}
	}
	tally := &tally{pulse: &pulse{}}
	tally.enter(request(1, writing, 503), 200)
	tally.crash.moments = moments{begun: at(3), dead: at(3.1), over: at(4)}
	for _, a := range []answer{
		request(2.95, writing, 503), request(3.2, reading, 200), request(3.5, writing, 503),
		request(3.7, writing, 200), request(3.8, none, 503),
		request(4.1, writing, 503), request(4.2, reading, 200),
	} {
		tally.enter(a, 200)
	}
	if errors, failed := tally.errors.Load(), tally.crash.failed; errors != 2 || failed != 3 {
		t.Errorf("%d errors and %d failures of the outage, want 2 and 3", errors, failed)
	}
	for _, c := range []struct {
		absence absence
		want    time.Duration
	}{{tally.crash.writes, 800 * time.Millisecond}, {tally.crash.lookups, 300 * time.Millisecond}} {
		if away := c.absence.away(at(3)); away != c.want {
			t.Errorf("the primary was away for %v, want %v", away, c.want)
		}
	}
}
