package main

import (
	"slices"
	"testing"
	"time"
)

var start = time.Now()

// at returns a moment of the test in seconds.
func at(seconds float64) time.Time { return start.Add(time.Duration(seconds * float64(time.Second))) }

// view returns an accepted view of the home page, which took a tenth of a second.
func view(sent float64, owner string, views int) answer {
	return answer{
		sent: at(sent), received: at(sent + 0.1), counting: true, status: 200, owner: owner,
		views: views,
	}
}

// glance returns an accepted look at the account, which writes nothing.
func glance(sent float64, views int) answer {
	a := view(sent, "ann", views)
	a.counting = false
	return a
}

func refusal(sent float64) answer {
	return answer{sent: at(sent), received: at(sent + 0.1), status: 401}
}

// A step is the answers to a user's requests at one moment.
type step []answer

func TestJudgeFindsWhatCannotBe(t *testing.T) {
	// T is 3 s, the slack 1 s, a keepalive takes up to 0.58 s, and a session on a public computer lives 5 s.
	for _, c := range []struct {
		name   string
		public bool
		steps  []step
		want   []fault
	}{
		{name: "a page of somebody else", steps: []step{{view(1, "bob", 1)}}, want: []fault{wrongOwner}},
		{name: "refused at once", steps: []step{{refusal(0.5)}}, want: []fault{lost}},
		{
			name: "refused within the slack of a write", steps: []step{{view(1, "ann", 1)}, {refusal(4.7)}},
			want: []fault{lost},
		},
		{name: "refused when it may have ended", steps: []step{{view(1, "ann", 1)}, {refusal(4.95)}}},
		{
			name: "refused within T of a read", steps: []step{{glance(1, 0)}, {glance(3, 0)}, {refusal(5.8)}},
			want: []fault{lost},
		},
		{name: "refused past T of a read", steps: []step{{glance(1, 0)}, {glance(3, 0)}, {refusal(5.95)}}},
		{name: "read when the keepalive might come late", steps: []step{{glance(3.7, 0)}, {refusal(5)}}},
		{
			name: "refused, and then accepted", steps: []step{{refusal(4.5)}, {glance(4.7, 0)}},
			want: []fault{resurrected},
		},
		{name: "accepted before the refusal came", steps: []step{{refusal(4.5), glance(4.55, 0)}}},
		{name: "idle, and alive as long as it may be", steps: []step{{glance(4.6, 0)}}},
		{
			name: "idle, and alive for longer", steps: []step{{glance(4.8, 0)}},
			want: []fault{keptPastDeadline},
		},
		{
			name: "used up to the absolute timeout", public: true,
			steps: []step{{glance(2, 0)}, {view(4.9, "ann", 1)}, {refusal(5)}},
		},
		{
			name: "refused before the absolute timeout", public: true,
			steps: []step{{view(3, "ann", 1)}, {refusal(4.85)}}, want: []fault{lost},
		},
		{
			name: "used past the absolute timeout", public: true,
			steps: []step{{view(3, "ann", 1)}, {view(5.2, "ann", 2)}}, want: []fault{keptPastDeadline},
		},
		{
			name: "a view that is gone", steps: []step{{view(1, "ann", 1)}, {view(2, "ann", 1)}},
			want: []fault{lost},
		},
		{name: "a view too many", steps: []step{{view(1, "ann", 2)}}, want: []fault{lost}},
		{name: "an old page", steps: []step{{view(1, "ann", 1)}, {glance(2, 0)}}, want: []fault{lost}},
		{
			name:  "views counted together",
			steps: []step{{view(1, "ann", 2), view(1, "ann", 1), glance(1, 1)}, {view(2, "ann", 3)}},
		},
		{
			name:  "one of two views counted together is lost",
			steps: []step{{view(1, "ann", 1), view(1, "ann", 1)}}, want: []fault{lost},
		},
		{
			name:  "no answer, so perhaps a view",
			steps: []step{{answer{sent: at(1), received: at(2), counting: true}}, {view(2, "ann", 2)}},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := born("ann", rulesOfLoad, answer{sent: at(0), received: at(0.1), status: 303}, c.public)
			var got []fault
			for _, answers := range c.steps {
				for _, f := range k.judge(answers...) {
					got = append(got, f.fault)
				}
			}
			if !slices.Equal(got, c.want) {
				t.Fatalf("found %v, want %v", got, c.want)
			}
		})
	}
}

func TestJudgeFindsWhatOutlivesALogOut(t *testing.T) {
	k := born("ann", rulesOfLoad, answer{sent: at(0), received: at(0.1), status: 303}, false)
	k.leaving()
	if found := k.judge(view(1, "ann", 1), refusal(1)); len(found) > 0 {
		t.Fatalf("while the log-out runs, either answer is right, but the judge found %v", found)
	}
	k.ended(at(1.2), "log-out")
	if found := k.judge(view(1.3, "ann", 2)); len(found) != 1 || found[0].fault != resurrected {
		t.Fatalf("found %v", found)
	}
}

func TestStallExcusesOnlyWhatItExplains(t *testing.T) {
	for _, c := range []struct {
		name   string
		used   answer
		stall  time.Duration
		excuse bool
	}{
		{name: "no stall", used: glance(3, 0)},
		{
			name: "a stall too short to let a keepalive miss a session with 0.9 s left", used: glance(3, 0),
			stall: minStall,
		},
		{name: "a stall long enough", used: glance(3, 0), stall: 4 * minStall, excuse: true},
		{name: "a write that was answered needs no keepalive", used: view(3, "ann", 1), stall: 4 * minStall},
	} {
		t.Run(c.name, func(t *testing.T) {
			tally := &tally{pulse: &pulse{}}
			k := born("ann", rulesOfLoad, answer{sent: at(0), received: at(0.1), status: 303}, false)
			tally.judge(k.judge(c.used))
			tally.judge(k.judge(refusal(5)))
			tally.pulse.felt(stall{from: at(3.2), to: at(3.2).Add(c.stall)})
			tally.settle()
			if excused := tally.excused == 1; excused != c.excuse ||
				tally.found[lost].Load()+tally.excused != 1 {
				t.Fatalf("%d counted and %d excused", tally.found[lost].Load(), tally.excused)
			}
		})
	}
}
