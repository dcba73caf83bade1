package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/sessionsql/postgres/db"
	"github.com/sessionsql/postgres/sessionsql"
)

// A result is the outcome of a run. The table shows it to a person, and --json to a program.
type result struct {
	Seconds  float64 `json:"seconds"`
	Users    int     `json:"users"`
	Requests int64   `json:"requests"`
	Logins   int64   `json:"logins"`
	Logouts  int64   `json:"logouts"`

	// These counts must be 0.
	WrongOwner       int64 `json:"wrong_owner"`
	Lost             int64 `json:"lost"`
	Resurrected      int64 `json:"resurrected"`
	KeptPastDeadline int64 `json:"kept_past_deadline"`
	Deadlocks        int64 `json:"deadlocks"`
	Errors           int64 `json:"errors"`
	// These answers would be wrong if the machine had not stalled.
	Excused int64 `json:"excused"`

	// These fields describe the crash of the primary. Writes and lookups count as away until the last failed
	// one was answered.
	CrashWritesAway  float64 `json:"crash_writes_away_s"`
	CrashLookupsAway float64 `json:"crash_lookups_away_s"`
	// sessions that lost their last writes, or everything
	CrashInWindow int64 `json:"crash_lost_in_window"`
	CrashOutside  int64 `json:"crash_lost_outside_window"`
	CrashFailed   int64 `json:"crash_failed_requests"`
	CrashStarved  int64 `json:"crash_expired_meanwhile"`

	// These fields count the attempts.
	Views     int64 `json:"views"`
	Together  int64 `json:"concurrent"`
	CameBack  int64 `json:"came_back"`
	IdledOut  int64 `json:"idled_out"`
	Outlived  int64 `json:"past_absolute_timeout"`
	Replayed  int64 `json:"replayed_after_logout"`
	LateSaves int64 `json:"saves_during_logout"`
	Replaced  int64 `json:"replaced_by_login"`
	Planted   int64 `json:"planted_before_login"`
	Forged    int64 `json:"forged"`
	Malformed int64 `json:"malformed"`
	Stolen    int64 `json:"stolen_by_id"`

	// These fields describe the Store and the database.
	Reaped        int64   `json:"reaped"`
	Backlog       int64   `json:"backlog"` // expired sessions that the reaper had not found at the end
	HotRatio      float64 `json:"hot_ratio"`
	ReplicaShare  float64 `json:"replica_share"`
	ReplicaMisses int64   `json:"replica_misses"`
	Extended      int64   `json:"keepalives_written"`
	LookupP50     float64 `json:"lookup_p50_ms"`
	LookupP99     float64 `json:"lookup_p99_ms"`
	HeapBytes     int64   `json:"heap_bytes"`
	IndexBytes    int64   `json:"index_bytes"`
	LongestWaitMS float64 `json:"longest_wait_ms"`

	embedded bool
	rules    rules
	examples []string
	crash    *crash // nil without a crash
}

// measure reads the state of the Store and the database. It removes the users' sessions from servers that the
// caller named.
func measure(
	ctx context.Context, c config, rules rules, elapsed time.Duration, t *tally, site *site, d *database,
	screen *screen,
) (*result, error) {
	stats := d.store.Stats()
	backlog, err := d.sweep(ctx)
	if err != nil {
		return nil, err
	}
	health, err := db.New().Health(ctx, d.pool)
	if err != nil {
		return nil, fmt.Errorf("health: %w", err)
	}
	deadlocks, err := d.loggedDeadlocks()
	if err != nil {
		return nil, err
	}
	if d.cluster == nil {
		screen.say("waiting for the last sessions to expire, to leave none behind")
		rest(ctx, max(rules.longest()+rules.flushedWithin(delays[0]), rules.lifetime))
		if _, err := d.sweep(ctx); err != nil {
			return nil, err
		}
	}
	r := &result{Seconds: elapsed.Seconds(), Users: c.users, embedded: d.cluster != nil, rules: rules}
	r.addTally(t)
	r.addCrash(t)
	// The servers' logs hold the application's deadlocks and more.
	r.Deadlocks = max(deadlocks, site.deadlocks.Load()+screen.deadlocks.Load())
	r.Errors = t.errors.Load() + stats.FlushErrors + stats.ReapErrors - t.crash.background
	r.addStore(stats, health)
	r.Backlog = backlog
	percentiles := site.lookups.percentiles(0.50, 0.99)
	r.LookupP50, r.LookupP99 = milliseconds(percentiles[0]), milliseconds(percentiles[1])
	return r, nil
}

// addTally adds the users' counts and findings.
func (r *result) addTally(t *tally) {
	r.Requests = t.requests.Load()
	r.Logins = t.logins.Load()
	r.Logouts = t.logouts.Load()

	r.WrongOwner = t.found[wrongOwner].Load()
	r.Lost = t.found[lost].Load()
	r.Resurrected = t.found[resurrected].Load()
	r.KeptPastDeadline = t.found[keptPastDeadline].Load()
	r.Excused = t.excused
	r.examples = t.examples

	r.Views = t.counted.Load()
	r.Together = t.together.Load()
	r.CameBack = t.cameBack.Load()
	r.IdledOut = t.idledOut.Load()
	r.Outlived = t.outlived.Load()
	r.Replayed = t.replayed.Load()
	r.LateSaves = t.lateSaves.Load()
	r.Replaced = t.replaced.Load()
	r.Planted = t.planted.Load()
	r.Forged = t.forged.Load()
	r.Malformed = t.malformed.Load()
	r.Stolen = t.stolen.Load()
	r.LongestWaitMS = milliseconds(t.pulse.longest)
}

// addCrash adds the cost of the crash.
func (r *result) addCrash(t *tally) {
	if !t.crash.happened() {
		return
	}
	r.crash = &t.crash
	r.CrashWritesAway = t.crash.writes.away(t.crash.begun).Seconds()
	r.CrashLookupsAway = t.crash.lookups.away(t.crash.begun).Seconds()
	r.CrashInWindow = t.undone.Load()
	r.CrashOutside = t.outside.Load()
	r.CrashFailed = t.crash.failed
	r.CrashStarved = t.starved
}

func (r *result) addStore(stats sessionsql.Stats, health db.HealthRow) {
	r.Reaped = stats.Reaped
	r.HotRatio = health.HotRatio.Float64
	r.ReplicaShare = share(stats.ReplicaReads, stats.PrimaryReads)
	r.ReplicaMisses = stats.ReplicaMisses
	r.Extended = stats.SessionsExtended
	r.HeapBytes = health.HeapBytes
	r.IndexBytes = health.IndexBytes
}

func share(part, others int64) float64 {
	if part+others == 0 {
		return 0
	}
	return float64(part) / float64(part+others)
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// publish prints the table and the JSON, and returns the exit status. The reason for a failure goes to
// stderr.
func (r *result) publish(c config, stdout io.Writer, screen *screen) (status int, err error) {
	if _, err := io.WriteString(stdout, r.table()); err != nil {
		return exitFailed, err
	}
	if c.json {
		if err := json.NewEncoder(stdout).Encode(r); err != nil {
			return exitFailed, err
		}
	}
	wrong := r.wrong()
	if len(wrong) == 0 {
		return exitOK, nil
	}
	for _, example := range r.examples {
		screen.say("  %s", example)
	}
	screen.say("demo: FAILED: %s", strings.Join(wrong, ", "))
	return exitFailed, nil
}

// wrong names the counts that fail a run. Errors count only on the demo's own servers, because others may
// restart meanwhile.
func (r *result) wrong() (wrong []string) {
	for _, each := range []struct {
		name    string
		count   int64
		ignored bool
	}{
		{name: wrongOwner.String(), count: r.WrongOwner},
		{name: lost.String(), count: r.Lost},
		{name: "crash_lost_outside_window", count: r.CrashOutside},
		{name: resurrected.String(), count: r.Resurrected},
		{name: keptPastDeadline.String(), count: r.KeptPastDeadline},
		{name: "deadlocks", count: r.Deadlocks},
		{name: "errors", count: r.Errors, ignored: !r.embedded},
	} {
		if each.count > 0 && !each.ignored {
			wrong = append(wrong, fmt.Sprintf("%s %d", each.name, each.count))
		}
	}
	return wrong
}
