package scs_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/alexedwards/scs/v2"

	sessionsqlscs "github.com/sessionsql/postgres/adapters/scs"
	"github.com/sessionsql/postgres/internal/sessiontest"
	"github.com/sessionsql/postgres/internal/testkit"
)

// TestLiveSessionsMoveHere runs the statement of docs/frameworks.md on sessions of scs's own store.
func TestLiveSessionsMoveHere(t *testing.T) {
	document := testkit.ReadFile(t, "../../../docs/frameworks.md")
	_, statement, _ := strings.Cut(document, "<!-- run by "+t.Name()+" -->\n```sql\n")
	statement, _, found := strings.Cut(statement, "```")
	if !found {
		t.Fatal("docs/frameworks.md has no such block")
	}
	for _, hashed := range []bool{false, true} {
		t.Run(fmt.Sprintf("HashTokenInStore %v", hashed), func(t *testing.T) {
			d := sessiontest.NewDatabase(t, cluster)
			pool := testkit.OpenPool(t, d.PrimaryDSN())
			old := newSite(t, newPgxstore(t, d), scs.GobCodec{})
			store := sessionsqlscs.NewStore(d.Store(t, nil), nil)
			here := newSite(t, store, sessionsqlscs.Codec{})
			old.sessions.HashTokenInStore, here.sessions.HashTokenInStore = hashed, hashed

			browsers := make([]*browser, 5)
			for i := range browsers {
				browsers[i] = newBrowser(t)
				browsers[i].want(old, fmt.Sprint("/login?name=", i), "")
			}
			late, expired := newBrowser(t), newBrowser(t)
			expired.want(old, "/login?name=expired", "")
			_, err := pool.ExecContext(t.Context(), `
				UPDATE sessions SET expiry = now() - interval '1 second'
				WHERE position('expired' IN encode(data, 'escape')) > 0`)
			must(t, err)
			move := func(want int64) {
				t.Helper()
				result, err := pool.ExecContext(t.Context(), statement)
				must(t, err)
				if n, err := result.RowsAffected(); err != nil || n != want {
					t.Errorf("%d sessions moved, %v; want %d", n, err, want)
				}
			}
			move(5)
			if n := testkit.Get[int64](t, pool, `
				SELECT count(*)
				FROM sessionsql.cache_entry AS e JOIN sessions AS s ON s.expiry = e.expires_at`,
			); n != 5 {
				t.Errorf("%d sessions kept their expiry", n)
			}
			for i, b := range browsers {
				b.want(here, "/get", fmt.Sprintf("name=%d ", i))
			}
			expired.want(here, "/get", "")

			// A second run brings what was new meanwhile, and neither undoes a change nor a logout.
			late.want(old, "/login?name=late", "")
			browsers[0].clone(here).want(here, "/logout", "")
			browsers[1].want(here, "/set?key=cart&value=tea", "")
			move(1)
			late.want(here, "/get", "name=late ")
			browsers[0].want(here, "/get", "")
			browsers[1].want(here, "/get", "cart=tea name=1 ")
		})
	}
}
