package scs_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/alexedwards/scs/pgxstore"
	"github.com/alexedwards/scs/v2"
	"github.com/jackc/pgx/v5/pgxpool"

	sessionsqlscs "github.com/sessionsql/postgres/adapters/scs"
	"github.com/sessionsql/postgres/internal/sessiontest"
	"github.com/sessionsql/postgres/internal/testkit"
)

// TestARequestUnderWayNeverBringsALoggedOutSessionBack ends a session while another request holds it, which
// commits afterwards. scs's own store brings it back, so the steps do show the fault.
func TestARequestUnderWayNeverBringsALoggedOutSessionBack(t *testing.T) {
	d := sessiontest.NewDatabase(t, cluster)
	stores := map[string]scs.Store{
		"sessionsql": sessionsqlscs.NewStore(d.Store(t, nil), nil), "pgxstore": newPgxstore(t, d),
	}
	for name, store := range stores {
		for _, end := range []string{"/logout", "/login?name=Ann"} { // a login ends the token from before
			t.Run(name+end, func(t *testing.T) {
				s := newSite(t, store, sessionsqlscs.Codec{})
				loaded, ended := make(chan struct{}), make(chan struct{})
				s.mux.HandleFunc("/slow", func(_ http.ResponseWriter, r *http.Request) {
					close(loaded)
					<-ended
					s.sessions.Put(r.Context(), "page", "slow")
				})
				b := newBrowser(t)
				b.want(s, "/set?key=name&value=Bob", "")
				thief := b.clone(s)
				slow, done := b.clone(s), make(chan error)
				go func() {
					_, err := slow.Get(s.server.URL + "/slow")
					done <- err
				}()
				<-loaded
				b.want(s, end, "")
				thief.clone(s).want(s, "/get", "")
				close(ended)
				must(t, <-done)
				if name == "pgxstore" {
					thief.want(s, "/get", "name=Bob page=slow ")
				} else {
					thief.want(s, "/get", "")
				}
			})
		}
	}
}

// newPgxstore makes scs's own store and its table.
func newPgxstore(t *testing.T, d *sessiontest.Database) scs.Store {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), d.PrimaryDSN())
	must(t, err)
	t.Cleanup(pool.Close)
	_, err = pool.Exec(t.Context(), `
		CREATE TABLE sessions (token text PRIMARY KEY, data bytea NOT NULL, expiry timestamptz NOT NULL)`)
	must(t, err)
	return pgxstore.NewWithCleanupInterval(pool, 0)
}

// TestAnUnchangedSessionIsNotWritten views pages with an idle timeout, for which scs commits each time.
func TestAnUnchangedSessionIsNotWritten(t *testing.T) {
	d := sessiontest.NewDatabase(t, cluster)
	pool := testkit.OpenPool(t, d.PrimaryDSN())
	codecs := map[string]scs.Codec{"GobCodec": scs.GobCodec{}, "Codec": sessionsqlscs.Codec{}}
	for name, codec := range codecs {
		t.Run(name, func(t *testing.T) {
			store := sessionsqlscs.NewStore(d.Store(t, nil), &sessionsqlscs.Options{Space: name})
			s := newSite(t, store, codec)
			s.sessions.IdleTimeout = 20 * time.Minute
			b := newBrowser(t)
			var want string
			for _, key := range []string{"a", "b", "c", "d", "e"} {
				b.want(s, "/set?value=1&key="+key, "")
				want += key + "=1 "
			}
			row := func(column string) string {
				return testkit.Get[string](t, pool, "SELECT e."+column+`::text
					FROM sessionsql.cache_entry AS e WHERE e.space = sessionsql.cache_space_id($1)`, name)
			}
			before := row("xmin")
			for range 30 {
				b.want(s, "/get", want)
			}
			if changed := row("xmin") != before; changed != (name == "GobCodec") {
				t.Errorf("written: %v", changed)
			}
			// Two minutes of use later the session is extended.
			_, err := pool.ExecContext(t.Context(),
				"UPDATE sessionsql.cache_entry SET expires_at = expires_at - interval '2 minutes'")
			must(t, err)
			b.want(s, "/get", want)
			if left := testkit.Get[float64](t, pool, `
				SELECT EXTRACT(epoch FROM e.expires_at - clock_timestamp())::double precision
				FROM sessionsql.cache_entry AS e WHERE e.space = sessionsql.cache_space_id($1)`, name,
			); left < 19*60 {
				t.Errorf("%v seconds left after a use", left)
			}
		})
	}
}

func TestASessionEndsWhenScsSays(t *testing.T) {
	d := sessiontest.NewDatabase(t, cluster)
	pool := testkit.OpenPool(t, d.PrimaryDSN())
	s := newSite(t, sessionsqlscs.NewStore(d.Store(t, nil), nil), sessionsqlscs.Codec{})
	s.sessions.Lifetime, s.sessions.IdleTimeout = time.Hour, 40*time.Minute
	b := newBrowser(t)
	b.want(s, "/set?key=a&value=1", "")
	minutesLeft := func() float64 {
		return testkit.Get[float64](t, pool, `
			SELECT EXTRACT(epoch FROM e.expires_at - clock_timestamp())::double precision / 60
			FROM sessionsql.cache_entry AS e`)
	}
	if left := minutesLeft(); left < 35 || left > 40 {
		t.Errorf("%v minutes left, want 40", left)
	}
	s.sessions.IdleTimeout = 2 * time.Hour // longer than the lifetime that is left
	b.want(s, "/set?key=a&value=2", "")
	if left := minutesLeft(); left < 55 || left > 60 {
		t.Errorf("%v minutes left, want 60", left)
	}
	_, err := pool.ExecContext(t.Context(),
		"UPDATE sessionsql.cache_entry SET expires_at = clock_timestamp()")
	must(t, err)
	b.want(s, "/get", "")
}

func TestIterateVisitsEverySession(t *testing.T) {
	d := sessiontest.NewDatabase(t, cluster)
	options := &sessionsqlscs.Options{KeepTokens: true}
	s := newSite(t, sessionsqlscs.NewStore(d.Store(t, nil), options), sessionsqlscs.Codec{})
	for name := range 5 {
		newBrowser(t).want(s, fmt.Sprint("/login?name=", name), "")
	}
	seen := map[string]bool{}
	must(t, s.sessions.Iterate(t.Context(), func(ctx context.Context) error {
		seen[s.sessions.GetString(ctx, "name")] = true
		return s.sessions.Destroy(ctx)
	}))
	if len(seen) != 5 {
		t.Errorf("%v", seen)
	}
	errAny := errors.New("any session")
	if err := s.sessions.Iterate(t.Context(), func(context.Context) error { return errAny }); err != nil {
		t.Errorf("after all were destroyed: %v", err)
	}
}
