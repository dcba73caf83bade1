package main

// meet computes the rest of a session if the crash has undone as much as it may. A crash takes the last
// writes, so every write answered before the window is left.
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

// readBefore is read for a use whose late keepalive the crash may undo.
func (k *known) readBefore(crash moments, a answer) {
	before := k.survived
	k.read(&k.survived, a)
	for i, delay := range delays {
		if a.received.Add(k.rules.flushedWithin(delay)).After(crash.begun.Add(-asyncLoss)) {
			k.survived.until[i], k.survived.used[i] = before.until[i], before.used[i]
		}
	}
}

// judgeLoss decides whether the crash may have undone the views that a page lacks. It may not have, if the
// user has seen them after the crash.
func (k *known) judgeLoss(crash moments, a answer, most int, f finding) []finding {
	if !k.met || k.certain {
		return []finding{f}
	}
	fewest := k.remaining
	if a.counting {
		fewest++
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

// undone reports the crash's damage within its window, once for a session.
func (k *known) undone(format string, args ...any) []finding {
	if k.counted {
		return nil
	}
	k.counted = true
	f := certain(lost, format, args...)
	f.crash = inWindow
	return []finding{f}
}

// ascertain takes the views of a page after the crash as the rest of the session, because nothing takes them
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

// reaches reports whether an answer came after the crash had begun.
func (m moments) reaches(a answer) bool { return !a.received.Before(m.begun) }
