package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sessionsql/postgres/internal/sessiontest"
	"github.com/sessionsql/postgres/internal/testkit"
	"github.com/sessionsql/postgres/sessionsql"
)

// mustBeZero are the keys whose values fail a run unless they are 0.
var mustBeZero = []string{
	"wrong_owner", "lost", "resurrected", "kept_past_deadline", "deadlocks", "errors",
	"crash_lost_outside_window",
}

// numbers parses the last line of the demo's output.
func numbers(t *testing.T, stdout string) (got map[string]float64) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &got); err != nil {
		t.Fatalf("the last line is not an object of numbers: %v", err)
	}
	return got
}

// good runs the demonstration and checks that it finds nothing wrong.
func good(t *testing.T, args ...string) map[string]float64 {
	t.Helper()
	var stdout, stderr bytes.Buffer
	status := run(t.Context(), append(args, "--json"), &stdout, &stderr)
	t.Logf("%s%s", &stderr, &stdout)
	if status != exitOK {
		t.Fatalf("exit status %d", status)
	}
	got := numbers(t, stdout.String())
	for _, key := range mustBeZero {
		if n, found := got[key]; !found || n != 0 {
			t.Errorf("%s: %v, there: %v; want 0", key, n, found)
		}
	}
	return got
}

// The demonstration runs long enough to meet every timeout.
func TestDemoFindsNothingWrong(t *testing.T) {
	got := good(t, "--duration", "12s", "--users", "400")
	for _, key := range []string{
		"requests", "logins", "logouts", "reaped", "replica_share", "lookup_p50_ms", "lookup_p99_ms",
		"views", "concurrent", "came_back", "idled_out", "past_absolute_timeout", "replayed_after_logout",
		"saves_during_logout", "replaced_by_login", "planted_before_login", "forged", "malformed",
		"stolen_by_id", "keepalives_written", "crash_writes_away_s",
	} {
		if got[key] <= 0 {
			t.Errorf("%s: %v, want more than 0", key, got[key])
		}
	}
	for _, key := range []string{
		"backlog", "hot_ratio", "crash_lookups_away_s", "crash_lost_in_window", "crash_expired_meanwhile",
	} {
		if _, found := got[key]; !found {
			t.Errorf("%s is missing", key)
		}
	}
}

func TestDemoWithoutCrashFindsNothingWrong(t *testing.T) {
	got := good(t, "--no-crash", "--duration", "3s", "--users", "200")
	for _, key := range []string{
		"crash_writes_away_s", "crash_lookups_away_s", "crash_lost_in_window", "crash_failed_requests",
		"crash_expired_meanwhile",
	} {
		if n, found := got[key]; !found || n != 0 {
			t.Errorf("%s: %v, there: %v; want 0", key, n, found)
		}
	}
}

// TestDemoFindsWhatACrashMustNotTake makes the promotion lose old sessions. The idle timeout is long here, so
// that no outage ends a session even on a slow machine.
func TestDemoFindsWhatACrashMustNotTake(t *testing.T) {
	defer func(was rules) { rulesOfLoad = was }(rulesOfLoad)
	rulesOfLoad.idle = time.Minute
	var stdout, stderr bytes.Buffer
	c, err := parse([]string{"--duration", "14s", "--users", "200", "--json"}, &stderr)
	testkit.Must(t, err)
	c.afterPromotion = func(ctx context.Context, pool *sql.DB) error {
		_, err := pool.ExecContext(ctx, "DELETE FROM sessionsql.session")
		return err
	}
	status, err := demo(t.Context(), c, &stdout, newScreen(&stderr))
	t.Logf("%s%s", &stderr, &stdout)
	if status != exitFailed || err != nil {
		t.Fatalf("exit status %d, %v", status, err)
	}
	got := numbers(t, stdout.String())
	if n := got["crash_lost_outside_window"]; n == 0 || got["lost"] < n {
		t.Errorf("crash_lost_outside_window: %v, lost: %v", n, got["lost"])
	}
	if got["crash_lost_in_window"] == 0 {
		t.Error("crash_lost_in_window is 0, but the test also deleted the youngest sessions")
	}
}

// TestDemoFailsWhereASiteIsWrong lets users visit sites that break a rule of sessions, and checks that the
// demo finds each.
func TestDemoFailsWhereASiteIsWrong(t *testing.T) {
	greet := func(owner string, views int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			_, _ = fmt.Fprintf(w, `<b id="owner">%s</b><b id="views">%d</b>`, owner, views)
		}
	}
	refuse := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }
	for _, c := range []struct {
		name string
		home http.HandlerFunc
		do   func(*user, context.Context)
		want fault
	}{
		{
			"another user's page", greet("bob", 1), func(u *user, ctx context.Context) { u.open(ctx, home) },
			wrongOwner,
		},
		{"cookies that were made up", greet("ann", 1), (*user).cheat, wrongOwner},
		{"refuses everybody", refuse, func(u *user, ctx context.Context) { u.open(ctx, home) }, lost},
		{"loses views", greet("ann", 1), (*user).openTabs, lost},
		{"forgets log-outs", greet("ann", 1), (*user).logOut, resurrected},
		{"forgets the absolute timeout", greet("ann", 0), func(u *user, ctx context.Context) {
			u.session.deadAfter = time.Now()
			u.session.deadlineTo = u.session.deadAfter
			u.goIdle(ctx)
		}, keptPastDeadline},
	} {
		t.Run(c.name, func(t *testing.T) {
			mux := http.NewServeMux()
			mux.HandleFunc("GET /", c.home)
			mux.HandleFunc("POST /", func(w http.ResponseWriter, r *http.Request) {
				http.SetCookie(w, &http.Cookie{Name: cookieName, Value: forgedToken(), Path: "/"})
				http.Redirect(w, r, "/", http.StatusSeeOther)
			})
			server := httptest.NewServer(mux)
			defer server.Close()
			tally := &tally{pulse: &pulse{}}
			u := &user{
				name: "ann", rules: rulesOfLoad, browser: newBrowser(server.URL, server.Client().Transport),
				tally: tally, tokens: newTokens(1),
			}
			if !u.logIn(t.Context(), false) {
				t.Fatal("cannot log in")
			}
			c.do(u, t.Context())
			tally.settle()
			if tally.found[c.want].Load() == 0 {
				t.Fatalf("the judge did not find the damage; it found %v", tally.examples)
			}
			r := &result{
				WrongOwner: tally.found[wrongOwner].Load(), Lost: tally.found[lost].Load(),
				Resurrected:      tally.found[resurrected].Load(),
				KeptPastDeadline: tally.found[keptPastDeadline].Load(),
			}
			if status, err := r.publish(config{}, io.Discard, newScreen(io.Discard)); status != exitFailed ||
				err != nil {
				t.Fatalf("exit status %d, %v", status, err)
			}
		})
	}
}

// The users of the demonstration do not test an outage of the database in full, and no strange names.
func TestSiteEscapesNamesAndReportsAnOutage(t *testing.T) {
	cluster := sessiontest.StartCluster(t, nil)
	options := &sessionsql.Options{Logger: newScreen(t.Output()).logger()}
	store := sessiontest.NewDatabase(t, cluster).Store(t, options)
	server := httptest.NewServer(newSite(store, rulesOfServe).handler())
	defer server.Close()

	b := newBrowser(server.URL, server.Client().Transport)
	a, _ := b.post(t.Context(), "/login", map[string][]string{"name": {`<b id="owner">bob`}})
	if a.status != http.StatusSeeOther {
		t.Fatalf("log-in: %d, %v", a.status, a.err)
	}
	if a := b.get(t.Context(), home); a.owner != `<b id="owner">bob` || a.views != 1 {
		t.Fatalf("greeted as %q with %d views", a.owner, a.views)
	}
	testkit.Must(t, cluster.Primary.Stop(t.Context()))
	if a := b.get(t.Context(), home); a.status != http.StatusServiceUnavailable {
		t.Errorf("status %d without a database, want 503 instead of a log-in", a.status)
	}
	if a, _ := b.post(t.Context(), "/logout", nil); a.status != http.StatusServiceUnavailable {
		t.Errorf("status %d of a log-out without a database, want 503 because the session lives", a.status)
	}
}

func TestBadFlagsExitWithUsage(t *testing.T) {
	for _, args := range [][]string{
		{"--duration", "0s"}, {"--users", "0"}, {"--replica", "host=x"}, {
			"--serve",
			"--json",
		}, {"--no-such-flag"}, {"word"},
	} {
		var stdout, stderr bytes.Buffer
		if status := run(t.Context(), args, &stdout, &stderr); status != exitUsage || stderr.Len() == 0 ||
			stdout.Len() > 0 {
			t.Errorf("%v: exit status %d, stderr %q, stdout %q", args, status, &stderr, &stdout)
		}
	}
	var stderr bytes.Buffer
	if status := run(t.Context(), []string{"-h"}, io.Discard, &stderr); status != exitOK ||
		!strings.Contains(stderr.String(), "-primary") {
		t.Errorf("-h: exit status %d, %q", status, &stderr)
	}
}
