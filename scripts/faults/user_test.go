package main

import "testing"

// A family is a user's acts and the calls of each session. The sessions have the ids 1, 2 and so on.
type family struct {
	acts     []*act
	sessions [][]*call
}

// with adds calls to the first session, and returns the history.
func (f family) with(calls ...*call) *history {
	f.sessions[0] = append(f.sessions[0], calls...)
	h := newHistory()
	u := &user{acts: f.acts}
	for i, calls := range f.sessions {
		s := &session{id: h.newID(), home: -1, calls: calls, user: u, row: int64(i + 1), tokens: []string{""}}
		u.sessions = append(u.sessions, s)
		h.addSession(s)
	}
	for _, a := range f.acts {
		if a.verb == endCapped { // a login makes the session inserted at the same time
			for _, s := range u.sessions {
				if s.born().start == a.start {
					a.made = s
				}
			}
		}
		if a.secret > 0 { // the tests present the token of the first session
			a.shown = u.sessions[0]
		}
		a.among = u.sessions
	}
	return h
}

// logins makes sessions a tenth of a second apart, and adds further acts.
func logins(count int, more ...*act) (f family) {
	for i := range int64(count) {
		one := inserted(100 * i)
		f.sessions = append(f.sessions, []*call{one})
		f.acts = append(f.acts, &act{call: call{verb: endCapped, start: one.start, end: one.end}})
	}
	f.acts = append(f.acts, more...)
	return f
}

func acted(ms int64, a act) *act {
	a.call = *at(ms, a.call)
	return &a
}

func everywhere(ms int64) *act { return acted(ms, act{call: call{verb: endSubject}}) }

func elsewhere(ms int64) *act { return acted(ms, act{call: call{verb: endSubject, secret: 1}}) }

func endedInList(ms, id int64) *act { return acted(ms, act{call: call{verb: endListed}, id: id}) }

func list(ms int64, ids ...int64) *act { return acted(ms, act{call: call{verb: listed}, ids: ids}) }

func inDoubt(a *act) *act {
	a.outcome = unsure
	return a
}

func found(a *act, o outcome) *act {
	a.outcome = o
	return a
}

// loginInDoubt makes four logins, of which the second may not have happened.
func loginInDoubt() family {
	f := logins(4)
	f.acts[1].outcome, f.sessions[1][0].outcome = unsure, unsure
	return f
}

func TestTheModelAcceptsWhatMayBecomeOfAUser(t *testing.T) {
	live, gone := read(900, 0, 1, "s1.1", 1), missed(900, 1)
	for name, h := range map[string]*history{
		"a list":                        logins(2, list(300, 1, 2)).with(live),
		"a logout everywhere":           logins(2, everywhere(300), list(400)).with(gone),
		"a logout everywhere else":      logins(2, elsewhere(300), list(400, 1)).with(live),
		"everywhere, in doubt and done": logins(2, inDoubt(everywhere(300))).with(gone),
		"everywhere, in doubt and not":  logins(2, inDoubt(everywhere(300))).with(live),
		"done when it was seen to fail": logins(1, inDoubt(everywhere(300))).with(
			read(400, 0, 1, "s1.1", 1), gone),
		"a token that is known no more": logins(2, found(elsewhere(1000), noSession)).with(revoked(300),
			gone),
		"a session out of a list": logins(2, endedInList(300, 1), list(400, 2)).with(gone),
		"it had ended before": logins(2, found(endedInList(300, 1), noSession)).with(revoked(200),
			gone),
		"another session out of a list": logins(2, endedInList(300, 2), list(400, 1)).with(live),
		"out of a list, in doubt":       logins(2, inDoubt(endedInList(300, 1))).with(live),
		"a cap ends the oldest":         logins(4, list(500, 2, 3, 4)).with(gone),
		"a cap has room":                logins(3, list(500, 1, 2, 3)).with(live),
		"a cap counts the living":       logins(4, endedInList(250, 2), list(500, 1, 3, 4)).with(live),
		"a cap counts what is there":    loginInDoubt().with(live),
		"and what may be there":         loginInDoubt().with(gone),
		"another Store sees it late": logins(1, everywhere(300)).with(
			read(900, 1, 1, "s1.1", 1)),
	} {
		if found := h.check(); len(found) > 0 {
			t.Errorf("%s: %v", name, found[0].what)
		}
	}
}

func TestTheModelRefusesWhatMustNotBecomeOfAUser(t *testing.T) {
	live, gone := read(900, 0, 1, "s1.1", 1), missed(900, 1)
	for name, h := range map[string]*history{
		"a list lacks a live session":       logins(2, list(300, 2)).with(live),
		"a list holds a dead session":       logins(1, list(300, 1)).with(revoked(200)),
		"a logout everywhere forgets one":   logins(2, everywhere(300)).with(live),
		"the list after it does not":        logins(1, everywhere(300), list(400, 1)).with(),
		"a logout everywhere else does not": logins(2, elsewhere(300)).with(gone),
		"a live token is said to be none":   logins(1, found(elsewhere(300), noSession)).with(live),
		"a dead token spares its session":   logins(1, elsewhere(300)).with(revoked(200)),
		"the ended session lives":           logins(2, endedInList(300, 1)).with(live),
		"it ends twice":                     logins(1, endedInList(300, 1), endedInList(400, 1)).with(),
		"a failed end, and yet":             logins(1, found(endedInList(300, 1), noSession)).with(gone),
		"a cap ends too many":               logins(3).with(gone),
		"a cap ends the wrong one":          logins(4, endedInList(250, 2)).with(gone),
	} {
		if found := h.check(); len(found) != 1 {
			t.Errorf("%s: %d violations", name, len(found))
		}
	}
}

// After a crash, strict calls are not lost, and an id may belong to another session.
func TestTheModelKnowsWhatACrashMeansToAUser(t *testing.T) {
	lossy := crashWindow{start: 1000e6, end: 1010e6, asynchronous: 400e6, strict: never, doubtful: never}
	failover := crashWindow{start: 1000e6, end: 1010e6, asynchronous: 400e6, strict: 400e6, doubtful: 400e6}
	late := read(1100, 0, 1, "s1.1", 1)
	for name, test := range map[string]struct {
		h       *history
		w       crashWindow
		accepts bool
	}{
		"a logout everywhere is lost": {logins(1, everywhere(500)).with(late), lossy, false},
		"a failover loses it":         {logins(1, everywhere(500)).with(late), failover, true},
		"the id is handed out again": {
			family{
				acts:     []*act{list(1200, 1), endedInList(1300, 1)},
				sessions: [][]*call{{inserted(500), missed(1100, 1)}},
			}.with(),
			lossy, true,
		},
	} {
		test.h.addCrash(test.w)
		if found := test.h.check(); (len(found) == 0) != test.accepts {
			t.Errorf("%s: %v", name, found)
		}
	}
}
