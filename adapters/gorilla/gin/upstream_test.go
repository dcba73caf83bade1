package gin_test

import (
	"testing"

	ginsessions "github.com/gin-contrib/sessions"
	"github.com/gin-contrib/sessions/tester"

	sessionsqlgorilla "github.com/sessionsql/postgres/adapters/gorilla"
	"github.com/sessionsql/postgres/internal/sessiontest"
)

// TestUpstream runs the tests that gin-contrib/sessions has for its own stores.
func TestUpstream(t *testing.T) {
	newStore := func(t *testing.T) ginsessions.Store {
		return ginStore{sessionsqlgorilla.NewStore(sessiontest.OpenStore(t, databaseURL, nil, nil))}
	}
	for name, run := range map[string]func(*testing.T){
		"GetSet":    func(t *testing.T) { tester.GetSet(t, newStore) },
		"DeleteKey": func(t *testing.T) { tester.DeleteKey(t, newStore) },
		"Flashes":   func(t *testing.T) { tester.Flashes(t, newStore) },
		"Clear":     func(t *testing.T) { tester.Clear(t, newStore) },
		"Options":   func(t *testing.T) { tester.Options(t, newStore) },
		"Many":      func(t *testing.T) { tester.Many(t, newStore) },
	} {
		t.Run(name, run)
	}
}
