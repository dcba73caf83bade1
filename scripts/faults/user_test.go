package main

import "testing"

// family is the history of one user, whose sessions have the ids 1, 2 and so on, and of the user's acts.
func family(acts []*act, sessions ...[]*call) *history {
	h := newHistory()
	u := &user{acts: acts}
	for i, calls := range sessions {
		s := &session{id: h.newID(), home: -1, calls: calls, user: u, row: int64(i + 1), tokens: []string{""}}
		u.sessions = append(u.sessions, s)
		h.addSession(s)
	}
	for _, a := range acts {
		if a.verb == endCapped { // a login makes the session that was inserted at the same time
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

// logins makes one session after the other, a tenth of a second apart.
func logins(count int, more ...*act) (acts []*act, sessions [][]*call) {
	for i := range int64(count) {
		one := inserted(100 * i)
		sessions = append(sessions, []*call{one})
		acts = append(acts, &act{call: call{verb: endCapped, start: one.start, end: one.end}})
	}
	return append(acts, more...), sessions
}

func acted(ms int64, a act) *act {
	a.call = *at(ms, a.call)
	return &a
}

// with adds calls to the first session of a family.
func with(acts []*act, sessions [][]*call) func(calls ...*call) *history {
	return func(calls ...*call) *history {
		sessions[0] = append(sessions[0], calls...)
		return family(acts, sessions...)
	}
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

// loginInDoubt is four logins, of which the second may not have happened.
func loginInDoubt() (acts []*act, sessions [][]*call) {
	acts, sessions = logins(4)
	acts[1].outcome, sessions[1][0].outcome = unsure, unsure
	return acts, sessions
}

func TestTheModelAcceptsWhatMayBecomeOfAUser(t *testing.T) {
	live, gone := read(900, 0, 1, "s1.1", 1), missed(900, 1)
	for name, h := range map[string]*history{
		"a list":                        with(logins(2, list(300, 1, 2)))(live),
		"a logout everywhere":           with(logins(2, everywhere(300), list(400)))(gone),
		"a logout everywhere else":      with(logins(2, elsewhere(300), list(400, 1)))(live),
		"everywhere, in doubt and done": with(logins(2, inDoubt(everywhere(300))))(gone),
		"everywhere, in doubt and not":  with(logins(2, inDoubt(everywhere(300))))(live),
		"done when it was seen to fail": with(logins(1, inDoubt(everywhere(300))))(
			read(400, 0, 1, "s1.1", 1), gone),
		"a token that is known no more": with(logins(2, found(elsewhere(1000), noSession)))(revoked(300),
			gone),
		"a session out of a list": with(logins(2, endedInList(300, 1), list(400, 2)))(gone),
		"it had ended before": with(logins(2, found(endedInList(300, 1), noSession)))(revoked(200),
			gone),
		"another session out of a list": with(logins(2, endedInList(300, 2), list(400, 1)))(live),
		"out of a list, in doubt":       with(logins(2, inDoubt(endedInList(300, 1))))(live),
		"a cap ends the oldest":         with(logins(4, list(500, 2, 3, 4)))(gone),
		"a cap has room":                with(logins(3, list(500, 1, 2, 3)))(live),
		"a cap counts the living":       with(logins(4, endedInList(250, 2), list(500, 1, 3, 4)))(live),
		"a cap counts what is there":    with(loginInDoubt())(live),
		"and what may be there":         with(loginInDoubt())(gone),
		"another Store sees it late": with(logins(1, everywhere(300)))(
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
		"a list lacks a live session":       with(logins(2, list(300, 2)))(live),
		"a list holds a dead session":       with(logins(1, list(300, 1)))(revoked(200)),
		"a logout everywhere forgets one":   with(logins(2, everywhere(300)))(live),
		"the list after it does not":        with(logins(1, everywhere(300), list(400, 1)))(),
		"a logout everywhere else does not": with(logins(2, elsewhere(300)))(gone),
		"a live token is said to be none":   with(logins(1, found(elsewhere(300), noSession)))(live),
		"a dead token spares its session":   with(logins(1, elsewhere(300)))(revoked(200)),
		"the ended session lives":           with(logins(2, endedInList(300, 1)))(live),
		"it ends twice":                     with(logins(1, endedInList(300, 1), endedInList(400, 1)))(),
		"a failed end, and yet":             with(logins(1, found(endedInList(300, 1), noSession)))(gone),
		"a cap ends too many":               with(logins(3))(gone),
		"a cap ends the wrong one":          with(logins(4, endedInList(250, 2)))(gone),
	} {
		if found := h.check(); len(found) != 1 {
			t.Errorf("%s: %d violations", name, len(found))
		}
	}
}

// A user's sessions after a crash: what was strict is not lost, and an id may be another session's.
func TestTheModelKnowsWhatACrashMeansToAUser(t *testing.T) {
	lossy := crashWindow{start: 1000e6, end: 1010e6, asynchronous: 400e6, strict: never, doubtful: never}
	failover := crashWindow{start: 1000e6, end: 1010e6, asynchronous: 400e6, strict: 400e6, doubtful: 400e6}
	late := read(1100, 0, 1, "s1.1", 1)
	for name, test := range map[string]struct {
		h       *history
		w       crashWindow
		accepts bool
	}{
		"a logout everywhere is lost": {with(logins(1, everywhere(500)))(late), lossy, false},
		"a failover loses it":         {with(logins(1, everywhere(500)))(late), failover, true},
		"the id is handed out again": {
			family([]*act{list(1200, 1), endedInList(1300, 1)}, []*call{inserted(500), missed(1100, 1)}),
			lossy, true,
		},
	} {
		test.h.addCrash(test.w)
		if found := test.h.check(); (len(found) == 0) != test.accepts {
			t.Errorf("%s: %v", name, found)
		}
	}
}
