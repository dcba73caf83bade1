package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"sync"
	"time"
)

// A user is one person with a browser, who makes one visit after the other from a log-in to some end.
type user struct {
	name    string
	rules   rules
	browser *browser
	tally   *tally
	tokens  *tokens

	number  int
	session *known
	token   string // the cookie, kept for presenting it after the jar has dropped it
}

const (
	// mostly shorter than the idle timeout
	minThink, maxThink = 1800 * time.Millisecond, 2900 * time.Millisecond
	minAway, maxAway   = 2 * time.Second, 6 * time.Second // between visits

	tabs         = 4  // opened at once
	maxSteps     = 6  // in a visit
	arriverOneIn = 25 // users who begin on the log-in page with an anonymous session
	publicOneIn  = 10 // visits from a public computer
	readerOneIn  = 5  // visits that never write and live by keepalives
	recheckPause = 300 * time.Millisecond
)

func between(least, most time.Duration) time.Duration {
	return least + rand.N(most-least)
}

func oneIn(n int) bool { return rand.IntN(n) == 0 }

func think() time.Duration { return between(minThink, maxThink) }

// live visits the site until ctx ends.
func (u *user) live(ctx context.Context) {
	for ctx.Err() == nil {
		public := oneIn(publicOneIn)
		if !u.logIn(ctx, public) {
			rest(ctx, think())
			continue
		}
		if public {
			u.outstay(ctx)
		} else if u.browse(ctx) {
			u.leave(ctx)
		}
		if !rest(ctx, between(minAway, maxAway)) {
			return
		}
	}
}

// logIn reports whether there is a new session. Success ends the session before it.
func (u *user) logIn(ctx context.Context, public bool) bool {
	form := url.Values{"name": {u.name}}
	if public {
		form.Set("public", "1")
	}
	old, oldToken := u.session, u.token
	if old != nil {
		old.leaving()
	}
	planted := ""
	if u.number%arriverOneIn == 0 {
		var a answer
		a, planted = u.browser.arrive(ctx)
		u.tally.enter(a, 200)
	}
	a, token := u.browser.post(ctx, login, form)
	u.tally.enter(a, 303)
	u.session = nil
	if a.status != 303 {
		return false
	}
	u.tally.logins.Add(1)
	if old != nil && token == oldToken {
		u.tally.judge([]finding{certain(wrongOwner, "a log-in kept the session that was presented")})
	}
	if planted != "" {
		u.fixate(ctx, planted)
	}
	u.session, u.token = born(u.name, u.rules, a, public), token
	u.session.crash = &u.tally.crash
	u.tokens.put(u.number, token)
	if old != nil && !old.gone() {
		old.ended(a.received, "another log-in")
		u.replay(ctx, old, oldToken)
		u.tally.replaced.Add(1)
	}
	return true
}

// fixate presents the token of the anonymous session after the log-in. It must not be logged in, because an
// attacker may have planted it.
func (u *user) fixate(ctx context.Context, planted string) {
	a := u.browser.present(ctx, account, planted)
	u.tally.enter(a, 200, 401)
	if a.accepted() {
		u.tally.judge([]finding{certain(wrongOwner, "a token from before the log-in opens the session")})
	}
	if a.refused() {
		u.tally.planted.Add(1)
	}
}

// browse makes some steps, and reports whether the session certainly lives.
func (u *user) browse(ctx context.Context) bool {
	reader := oneIn(readerOneIn)
	for range rand.IntN(maxSteps + 1) {
		dice := rand.IntN(100)
		pause := think()
		if dice < 15 {
			pause = longPause(u.rules)
		}
		if !rest(ctx, pause) {
			return false
		}
		switch {
		case dice < 15:
			u.comeBack(ctx)
		case dice < 27:
			u.cheat(ctx) // cheating must not harm the user's own session
			u.open(ctx, account)
		case reader:
			u.open(ctx, account)
		case dice < 37:
			u.openTabs(ctx)
		case dice < 55:
			u.open(ctx, account)
		default:
			u.open(ctx, home)
		}
		if u.session.gone() {
			u.stayOut(ctx)
			return false
		}
	}
	return true
}

// open opens a page in the browser and checks the answer.
func (u *user) open(ctx context.Context, path string) answer {
	a := u.browser.get(ctx, path)
	u.check(a)
	return a
}

func (u *user) check(answers ...answer) {
	for _, a := range answers {
		u.tally.enter(a, 200, 401)
		if a.counting && a.accepted() {
			u.tally.counted.Add(1)
		}
	}
	u.tally.judge(u.session.judge(answers...))
}

// openTabs opens pages at once with the same cookie. No view may be lost.
func (u *user) openTabs(ctx context.Context) {
	u.check(u.atOnce(ctx, []string{home, home, home, account}[:tabs])...)
	u.tally.together.Add(1)
}

func (u *user) atOnce(ctx context.Context, paths []string) []answer {
	answers := make([]answer, len(paths))
	var wait sync.WaitGroup
	for i, path := range paths {
		wait.Go(func() { answers[i] = u.browser.get(ctx, path) })
	}
	wait.Wait()
	return answers
}

// longPause returns about the idle timeout, sometimes more. Within the timeout the session lives, and in the
// slack after it either answer is right.
func longPause(r rules) time.Duration { return between(r.idle*7/10, r.idle*7/6) }

// comeBack checks whether the session has survived a long pause.
func (u *user) comeBack(ctx context.Context) {
	if u.open(ctx, account).accepted() {
		u.tally.cameBack.Add(1)
	}
}

// leave ends a visit.
func (u *user) leave(ctx context.Context) {
	switch dice := rand.IntN(100); {
	case dice < 30:
		u.logOut(ctx)
	case dice < 40:
		u.logOutWhileSaving(ctx)
	case dice < 55:
		u.logIn(ctx, false) // a log-in over the session
	default:
		u.goIdle(ctx)
	}
}

func (u *user) logOut(ctx context.Context) {
	u.session.leaving()
	a, _ := u.browser.post(ctx, "/logout", nil)
	u.afterLogOut(ctx, a)
}

// logOutWhileSaving logs out in one tab while others save. A late save must not bring the session back.
func (u *user) logOutWhileSaving(ctx context.Context) {
	u.session.leaving()
	var logOut answer
	var wait sync.WaitGroup
	wait.Go(func() { logOut, _ = u.browser.post(ctx, "/logout", nil) })
	answers := u.atOnce(ctx, []string{home, home, account})
	wait.Wait()
	u.check(answers...)
	u.afterLogOut(ctx, logOut)
	u.tally.lateSaves.Add(1)
}

func (u *user) afterLogOut(ctx context.Context, a answer) {
	u.tally.enter(a, 303)
	if a.status != 303 {
		return
	}
	u.tally.logouts.Add(1)
	u.session.ended(a.received, "log-out")
	u.replay(ctx, u.session, u.token)
	if rest(ctx, recheckPause) {
		u.replay(ctx, u.session, u.token)
	}
	u.tally.replayed.Add(1)
}

// replay presents the cookie of an ended session.
func (u *user) replay(ctx context.Context, old *known, token string) {
	a := u.browser.present(ctx, home, token)
	u.tally.enter(a, 200, 401)
	u.tally.judge(old.judge(a))
}

// goIdle waits until the session must be gone, and then looks.
func (u *user) goIdle(ctx context.Context) {
	if !rest(ctx, time.Until(u.session.deadAfter)+between(time.Millisecond, 200*time.Millisecond)) {
		return
	}
	if u.open(ctx, account).refused() {
		u.tally.idledOut.Add(1)
	}
	u.stayOut(ctx)
}

// stayOut tries a refused session again, which must not come back.
func (u *user) stayOut(ctx context.Context) {
	if rest(ctx, recheckPause) {
		u.replay(ctx, u.session, u.token)
	}
}

// outstay uses a session on a public computer steadily until after its absolute timeout.
func (u *user) outstay(ctx context.Context) {
	const often = 150 * time.Millisecond
	for !u.session.gone() && time.Now().Before(u.session.deadlineTo.Add(time.Second)) {
		pause := think() * 2 / 3
		if time.Until(u.session.deadlineFrom) < 2*pause {
			pause = often
		}
		if !rest(ctx, pause) {
			return
		}
		path := account
		if oneIn(2) {
			path = home
		}
		u.open(ctx, path)
	}
	if u.session.gone() {
		u.tally.outlived.Add(1)
		u.stayOut(ctx)
	}
}

func userName(number int) string { return fmt.Sprintf("user %d", number) }
