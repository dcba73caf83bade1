package main

// meet works out what is left of a session if the crash has undone all that it may undo. A crash takes the
// end of what was written, so whatever was answered before the window is left.
func (k *known) meet(crash moments) {
	k.met = true
	k.certain = crash.after(k.loggedIn)
	if !crash.mayLose(k.loggedIn) {
		k.written(&k.survived, k.loggedIn)
	}
	for _, a := range k.answered {
		if crash.mayLose(a) {
			continue
		}
		k.remaining = max(k.remaining, a.views)
		if a.counting {
			k.written(&k.survived, a)
		} else {
			k.readBefore(crash, a)
		}
	}
	k.answered = nil
}

// readBefore is read for a use whose keepalive the crash may undo, if it came late.
func (k *known) readBefore(crash moments, a answer) {
	before := k.survived
	k.read(&k.survived, a)
	for i, delay := range delays {
		if a.received.Add(k.rules.flushedWithin(delay)).After(crash.begun.Add(-asyncLoss)) {
			k.survived.until[i], k.survived.used[i] = before.until[i], before.used[i]
		}
	}
}

// judgeLoss tells whether the crash may have undone the views that a page lacks. It cannot where the user has
// seen, after the crash, that they were there. Where it has undone the first payload of a session whose
// secret a log-in renewed, the payload before that is back.
func (k *known) judgeLoss(crash moments, a answer, most int, f finding) []finding {
	if !k.met || k.certain {
		return []finding{f}
	}
	fewest := k.remaining
	if a.counting {
		fewest++
	}
	if crash.mayLose(k.loggedIn) {
		most = max(most, k.inherited+most-k.most)
	}
	switch {
	case a.views > most:
		return []finding{f}
	case a.views >= fewest:
		return k.undone("%s", f.detail)
	}
	if k.loggedIn.received.Before(crash.begun) {
		f.crash = outsideWindow
	}
	return []finding{f}
}

// undone is the finding that the crash has undone something within its window, once for a session.
func (k *known) undone(format string, args ...any) []finding {
	if k.counted {
		return nil
	}
	k.counted = true
	f := certain(lost, format, args...)
	f.crash = inWindow
	return []finding{f}
}

// ascertain: what a page shows that was asked for after the crash is what is left, and nothing takes that
// away any more.
func (k *known) ascertain(crash moments, answers []answer) {
	shown := 0
	for _, a := range answers {
		if a.accepted() && a.owner == k.owner && crash.after(a) {
			k.certain = true
			shown = max(shown, a.views)
		}
	}
	if k.certain {
		k.fewest = shown
	}
}

// reaches reports whether an answer came when the crash had begun.
func (m moments) reaches(a answer) bool { return !a.received.Before(m.begun) }
