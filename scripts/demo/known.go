package main

import (
	"fmt"
	"slices"
	"time"
)

// A known is a user's certain knowledge of one session, from requests, answers and their times alone. The
// server decided at some moment between a request and its answer, and each claim holds for the most
// favourable of these moments. So a slow machine makes claims rarer and not wrong.
type known struct {
	owner string
	rules rules
	crash *crash // of the primary; nil without a crash

	alive promise
	// after this time the session is certainly dead, if keepalives came no later than delays[0]
	deadAfter time.Time

	lastUse time.Time

	deadlineFrom, deadlineTo time.Time // the absolute timeout lies between these; zero without one

	ending bool      // a log-out was sent, so the session may be gone at any moment
	goneAt time.Time // the time of an answer that shows its end; zero if there is none yet
	goneBy string

	fewest, most int // the number of views that it counts

	// These fields keep all answers, because the crash tells only later which writes it may undo.
	loggedIn answer
	answered []answer // the accepted answers in the order of their requests

	met       bool    // an answer came after the crash had begun
	survived  promise // the promise if the crash has undone as much as it may
	remaining int     // the number of views left then
	certain   bool    // an answer has shown the rest
	counted   bool    // the crash's damage here has been counted
}

// A promise is a time until which a session certainly lives.
type promise struct {
	until     [len(delays)]time.Time // if keepalives came no later than each of delays
	used      [len(delays)]time.Time // the answer whose keepalive it rests on; zero for a write
	lastWrite time.Time
}

// An answer is a page's content or a refusal.
type answer struct {
	sent, received time.Time
	counting       bool // the request was for the page that counts its views
	use            use
	status         int // 0 without an answer
	owner          string
	views          int
	err            error
}

// A use is the effect of a request on the session of its cookie.
type use int

const (
	none    use = iota // the cookie opens nothing, or is not the browser's own
	reading            // a lookup
	writing
)

func (a answer) accepted() bool { return a.status == 200 }
func (a answer) refused() bool  { return a.status == 401 }

// born returns the knowledge after an answered log-in.
func born(owner string, rules rules, login answer, public bool) *known {
	k := &known{owner: owner, rules: rules, lastUse: login.sent, loggedIn: login}
	if public {
		k.deadlineFrom = login.sent.Add(rules.lifetime)
		k.deadlineTo = login.received.Add(rules.lifetime + clockAllowance)
	}
	k.written(&k.alive, login)
	k.used(login)
	return k
}

// written notes a write, which sets the expiry to T and its slack from then.
func (k *known) written(p *promise, a answer) {
	for i := range delays {
		k.livesUntil(p, i, a.sent.Add(k.rules.longest()), time.Time{})
	}
	p.lastWrite = later(p.lastWrite, a.sent)
}

// read notes a use without a write, which a keepalive records soon after. It extends the session by T, if the
// session lives until the keepalive.
func (k *known) read(p *promise, a answer) {
	for i, delay := range delays {
		if a.received.Add(k.rules.roomFor(delay)).Before(p.until[i]) {
			k.livesUntil(p, i, a.sent.Add(k.rules.idle), a.received)
		}
	}
}

func (k *known) livesUntil(p *promise, i int, until, used time.Time) {
	until = until.Add(-clockAllowance)
	if !k.deadlineFrom.IsZero() && until.After(k.deadlineFrom) {
		until = k.deadlineFrom
	}
	if until.After(p.until[i]) {
		p.until[i], p.used[i] = until, used
	}
}

// used notes a use, after which the session ends at the latest after the slowest keepalive.
func (k *known) used(a answer) {
	last := a.received.Add(k.rules.flushedWithin(delays[0]) + k.rules.longest() + clockAllowance)
	if !k.deadlineTo.IsZero() && last.After(k.deadlineTo) {
		last = k.deadlineTo
	}
	k.deadAfter = later(k.deadAfter, last)
	k.lastUse = later(k.lastUse, a.sent)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// leaving notes that a log-out is about to be sent.
func (k *known) leaving() { k.ending = true }

// ended notes that the session is gone for good.
func (k *known) ended(at time.Time, by string) {
	k.ending = true
	if k.goneAt.IsZero() || at.Before(k.goneAt) {
		k.goneAt, k.goneBy = at, by
	}
}

// gone reports whether the session is over for its user.
func (k *known) gone() bool { return !k.goneAt.IsZero() }

// A finding is a wrong answer, unless keepalives came later than it tolerates. They may have, if the machine
// stalled between since and till, or if the primary was away when the keepalive for a use at used was due.
type finding struct {
	fault       fault
	detail      string
	crash       verdict
	tolerates   time.Duration
	since, till time.Time
	used, due   time.Time
}

// A verdict is the crash's part in a loss.
type verdict int

const (
	unrelated     verdict = iota
	inWindow              // the crash may undo this loss
	outsideWindow         // the loss was written before the crash's window
)

// certain returns a finding that nothing excuses.
func certain(fault fault, format string, args ...any) finding {
	return finding{fault: fault, detail: fmt.Sprintf(format, args...), tolerates: forever}
}

type fault int

const (
	wrongOwner fault = iota
	lost
	resurrected
	keptPastDeadline
	faults // the number of faults
)

func (f fault) String() string {
	return [...]string{"wrong_owner", "lost", "resurrected", "kept_past_deadline"}[f]
}

// judge checks the answers to requests that were sent at once, and learns from them.
func (k *known) judge(answers ...answer) (found []finding) {
	crash := k.crash.now()
	if !k.met && !crash.begun.IsZero() && slices.ContainsFunc(answers, crash.reaches) {
		k.meet(crash)
	}
	found = k.judgeViews(crash, answers)
	slices.SortFunc(answers, func(a, b answer) int { return a.sent.Compare(b.sent) })
	for _, a := range answers {
		switch {
		case a.accepted():
			found = append(found, k.judgeAccepted(a)...)
			k.learn(crash, a)
		case a.refused():
			if !k.ending {
				found = append(found, k.judgeRefused(crash, a)...)
			}
			k.ended(a.received, "refused before")
		default:
			// The request may or may not have been served.
			k.deadAfter = a.received.Add(time.Hour)
		}
	}
	return found
}

func (k *known) learn(crash moments, a answer) {
	note := k.read
	if a.counting {
		note = k.written
	}
	note(&k.alive, a)
	k.used(a)
	switch {
	case !k.met:
		k.answered = append(k.answered, a)
	case crash.after(a):
		note(&k.survived, a)
	}
}

func (k *known) judgeRefused(crash moments, a answer) []finding {
	found := k.broken(&k.alive, a)
	if found == nil || !k.met {
		return found
	}
	left := k.broken(&k.survived, a)
	if left == nil {
		return k.undone("refused")
	}
	if k.loggedIn.received.Before(crash.begun) {
		left[0].crash = outsideWindow
	}
	return left
}

// broken returns the finding if a refusal breaks a promise.
func (k *known) broken(p *promise, a answer) []finding {
	for i, delay := range slices.Backward(delays[:]) {
		if !a.received.Before(p.until[i]) {
			continue
		}
		f := certain(lost, "refused %v before it could end, %v after its last use",
			p.until[i].Sub(a.received), a.received.Sub(k.lastUse))
		f.tolerates, f.since, f.till = delay, p.lastWrite, a.received
		f.used, f.due = p.used[i], p.used[i].Add(k.rules.flushedWithin(delays[0]))
		return []finding{f}
	}
	return nil
}

func (k *known) judgeAccepted(a answer) (found []finding) {
	if a.owner != k.owner {
		found = append(found, certain(wrongOwner, "%s was greeted as %q", k.owner, a.owner))
	}
	excess := a.sent.Sub(k.deadAfter)
	switch {
	case k.gone() && a.sent.After(k.goneAt):
		found = append(found,
			certain(resurrected, "accepted %v after it was gone (%s)", a.sent.Sub(k.goneAt), k.goneBy))
	case excess > 0:
		f := certain(keptPastDeadline, "accepted %v after it must have ended, %v after its last use", excess,
			a.sent.Sub(k.lastUse))
		if k.deadAfter != k.deadlineTo { // because the absolute timeout waits for no keepalive
			f.tolerates, f.since, f.till = delays[0]+excess, k.lastUse, a.sent
			f.due = k.deadAfter.Add(-k.rules.longest())
			f.used = f.due.Add(-k.rules.flushedWithin(delays[0]))
		}
		found = append(found, f)
	}
	return found
}

// judgeViews checks that every answered view is counted once, and that no other is.
func (k *known) judgeViews(crash moments, answers []answer) (found []finding) {
	counted, unanswered, highest := 0, 0, 0
	seen := map[int]bool{}
	for _, a := range answers {
		switch {
		case a.counting && a.accepted():
			counted++
		case a.counting && !a.refused():
			unanswered++
		}
	}
	for _, a := range answers {
		if !a.accepted() || a.owner != k.owner {
			continue
		}
		fewest := k.fewest
		if a.counting {
			fewest++
		}
		most := k.most + counted + unanswered
		if a.views < fewest || a.views > most {
			f := certain(lost, "%d views shown; it has between %d and %d", a.views, fewest, most)
			found = append(found, k.judgeLoss(crash, a, most, f)...)
		}
		if a.counting && seen[a.views] {
			f := certain(lost, "two views counted as the same number %d", a.views)
			found = append(found, k.judgeLoss(crash, a, most, f)...)
		}
		seen[a.views] = seen[a.views] || a.counting
		highest = max(highest, a.views)
	}
	k.fewest = max(k.fewest+counted, highest)
	k.most = max(k.most+counted+unanswered, highest)
	if k.met && !k.certain {
		k.ascertain(crash, answers)
	}
	return found
}
