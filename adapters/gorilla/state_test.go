package sessionsqlgorilla_test

import (
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"

	sessionsqlgorilla "github.com/sessionsql/postgres/adapters/gorilla"
	"github.com/sessionsql/postgres/internal/sitetest"
	"github.com/sessionsql/postgres/internal/testkit"
)

// A session that nobody holds any more leaves nothing behind.
func TestStatesEndWithTheirSessions(t *testing.T) {
	store := sessionsqlgorilla.NewStore(sitetest.OpenStore(t))
	const requests = 100
	for range requests {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		session, err := store.Get(r, cookieName)
		must(t, err)
		must(t, session.Save(r, httptest.NewRecorder()))
		if sessionsqlgorilla.States(store) == 0 {
			t.Fatal("a session in use has no state")
		}
	}
	testkit.Eventually(t, "at most one state is left, because this stack may hold a session", func() bool {
		runtime.GC()
		return sessionsqlgorilla.States(store) <= 1
	})
}
