package main

import (
	"cmp"
	"fmt"
	"runtime"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
)

// checkTimeout bounds the check of one session. A check that takes longer counts as a violation.
const checkTimeout = 10 * time.Second

// A violation is a session whose history no order of its calls explains, or a broken rule of another kind.
type violation struct {
	at      int64 // the end of the call that cannot be explained
	session int   // 0 without one
	what    string
}

// check checks the history of each session, and returns the violations.
func (h *history) check() []violation {
	h.mu.Lock()
	sessions := slices.Clone(h.sessions)
	h.mu.Unlock()
	found := make([]*violation, len(sessions))
	var checking sync.WaitGroup
	turns := make(chan struct{}, runtime.GOMAXPROCS(0))
	for i, s := range sessions {
		turns <- struct{}{}
		checking.Go(func() {
			found[i] = h.checkSession(s)
			<-turns
		})
	}
	checking.Wait()
	var violations []violation
	for _, v := range found {
		if v != nil {
			violations = append(violations, *v)
		}
	}
	slices.SortFunc(violations, func(a, b violation) int { return cmp.Compare(a.at, b.at) })
	return violations
}

func (h *history) checkSession(s *session) *violation {
	s.mu.Lock()
	calls := h.prepare(s)
	s.mu.Unlock()
	if len(calls) == 0 {
		return nil
	}
	switch verdict(calls, never, checkTimeout) {
	case porcupine.Illegal:
		return h.explain(s, calls)
	case porcupine.Unknown:
		return &violation{
			at:      calls[len(calls)-1].end,
			session: s.id,
			what:    fmt.Sprintf("session %d: no verdict on %d calls in %v", s.id, len(calls), checkTimeout),
		}
	}
	return nil
}

// verdict checks the calls up to a moment. A write that had not ended by then may have happened.
func verdict(calls []*call, until int64, timeout time.Duration) porcupine.CheckResult {
	var operations []porcupine.Operation
	for _, c := range calls {
		if c.start > until || c.end > until && !c.verb.writes() {
			continue
		}
		input, end := *c, c.end
		if c.outcome == unsure || c.end > until {
			input.outcome, end = unsure, never
			if c.verb == insert || c.verb == insertTx {
				input.outcome = done // its token is known, so only its time is open
			}
		}
		operations = append(operations, porcupine.Operation{Input: &input, Call: c.from, Return: end})
	}
	return porcupine.CheckOperationsTimeout(sessionModel(), operations, timeout)
}

// explain finds the first call that no order explains, and names the calls before it.
func (h *history) explain(s *session, calls []*call) *violation {
	i := sort.Search(len(calls)-1, func(i int) bool {
		return verdict(calls, calls[i].end, time.Second) != porcupine.Ok
	})
	culprit := calls[i]
	var b strings.Builder
	fmt.Fprintf(&b, "session %d", s.id)
	if s.home >= 0 {
		fmt.Fprintf(&b, " of store %d", s.home)
	}
	fmt.Fprintf(&b, ": no order of its calls explains\n    %v\n  after", culprit)
	const shown = 12
	var before []*call
	for _, c := range calls[:i] {
		if c.verb != lookup || c.end > culprit.start-int64(time.Second) || c.outcome != done {
			before = append(before, c)
		}
	}
	for _, c := range before[max(0, len(before)-shown):] {
		fmt.Fprintf(&b, "\n    %v", c)
	}
	for _, c := range calls[i+1:] {
		if c.start < culprit.end && c.verb.writes() {
			fmt.Fprintf(&b, "\n    %v (under way)", c)
		}
	}
	return &violation{at: culprit.end, session: s.id, what: b.String()}
}
