package main

import (
	"fmt"
	"strings"
	"text/tabwriter"
)

// table returns the result for a person.
func (r *result) table() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	title := func(format string, args ...any) {
		_ = w.Flush() // a strings.Builder returns no error
		fmt.Fprintf(&b, "\n"+format+"\n", args...)
	}
	row := func(value, note string) { fmt.Fprintf(w, "%s\t  %s\n", value, note) }
	count := func(n int64, note string) { row(fmt.Sprint(n), note) }

	title("%d users for %.0f s; idle timeout %v, absolute timeout %v on public computers", r.Users, r.Seconds,
		r.rules.idle, r.rules.lifetime)
	row(fmt.Sprint(r.Requests), fmt.Sprintf("requests, %.0f a second", float64(r.Requests)/r.Seconds))
	count(r.Logins, "log-ins")
	count(r.Logouts, "log-outs")
	count(r.Views, "views counted in a session")

	title("Checked against what the users know")
	count(r.Together, "times several pages at once with one cookie: no view may be lost")
	count(r.CameBack, "times back after a pause of about the idle timeout")
	count(r.IdledOut, "times idle for too long: must be refused")
	count(r.Outlived, "times used up to the absolute timeout and past it: must end")
	count(r.Replayed, "times logged out and the old cookie presented: must be refused")
	count(r.LateSaves, "times saved during the log-out: must not come back")
	count(r.Replaced, "times logged in over a session: the old cookie must be dead")
	count(r.Planted, "times logged in from an anonymous session: its cookie must be dead")
	count(r.Forged, "forged cookies")
	count(r.Malformed, "malformed cookies")
	count(r.Stolen, "cookies with a right id and a wrong secret")

	title("Must be 0")
	count(r.WrongOwner, "wrong_owner: somebody else's session, or one for a cookie that was made up")
	count(r.Lost, "lost: a live session refused, or views that are gone")
	count(r.Resurrected, "resurrected: a session that was over came back")
	count(r.KeptPastDeadline, "kept_past_deadline: a session outlived a timeout")
	count(r.Deadlocks, "deadlocks"+r.unless("as far as the application was told"))
	count(r.Errors, "errors: answers with 5xx, none, or a background statement that failed")

	r.crashRows(title, row)

	title("Store and database")
	row(fmt.Sprintf("%.2f ms", r.LookupP50), "lookup, median")
	row(fmt.Sprintf("%.2f ms", r.LookupP99), "lookup, 99 %")
	row(fmt.Sprintf("%.1f %%", 100*r.ReplicaShare), "of the lookups answered by a replica")
	row(fmt.Sprintf("%.1f %%", 100*r.HotRatio),
		"of the updates touched no index (HOT)"+r.sincePromotion()+r.unless("since its statistics began"))
	count(r.Extended, "keepalives written")
	count(r.Reaped, "expired sessions reaped"+r.unless("whoever they belonged to"))
	count(r.Backlog, "expired and not reaped yet at the end"+r.unless("whoever they belonged to"))
	row(fmt.Sprintf("%.1f MB", float64(r.HeapBytes)/1e6), "table")
	row(fmt.Sprintf("%.1f MB", float64(r.IndexBytes)/1e6), "indexes")
	row(fmt.Sprintf("%.0f ms", r.LongestWaitMS),
		fmt.Sprintf("longest wait for an answer; answers that only a busy machine excuses: %d", r.Excused))
	_ = w.Flush()
	b.WriteByte('\n')
	return b.String()
}

// crashRows adds the cost of the crash.
func (r *result) crashRows(title func(format string, args ...any), row func(value, note string)) {
	if r.crash == nil {
		return
	}
	title("Half-way the primary was killed by SIGKILL, and %s promoted", r.crash.leader)
	away := func(seconds float64, what string, a absence) {
		row(fmt.Sprintf("%.2f s", seconds),
			fmt.Sprintf("until no more %s failed; in the outage %d of %d did", what, a.failed, a.requests))
	}
	away(r.CrashWritesAway, "writes", r.crash.writes)
	away(r.CrashLookupsAway, "lookups of live sessions", r.crash.lookups)
	count := func(n int64, note string) { row(fmt.Sprint(n), note) }
	count(r.CrashFailed, "requests failed in the outage, those with cookies that open nothing included")
	count(r.CrashInWindow,
		fmt.Sprintf("sessions lost what was written in the last %v, as asynchronous commits may", asyncLoss))
	count(r.CrashOutside, "crash_lost_outside_window: sessions that lost what was older; must be 0")
	count(r.CrashStarved, "sessions ended because the outage kept their keepalive from being written")
	row("", "log-outs and renewed secrets wait for a replica (synchronous_standby_names): none may be undone")
}

// sincePromotion limits a number that only the promoted server has counted.
func (r *result) sincePromotion() string {
	if r.crash == nil {
		return ""
	}
	return " since the promotion"
}

// unless adds a limit to a number if the servers are not the demo's own.
func (r *result) unless(limit string) string {
	if r.embedded {
		return ""
	}
	return ", " + limit
}
