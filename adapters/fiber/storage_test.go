package sessionsqlfiber_test

import (
	"context"
	"testing"
	"time"

	sessionsqlfiber "github.com/sessionsql/postgres/adapters/fiber"
	"github.com/sessionsql/postgres/internal/keyvaluetest"
	"github.com/sessionsql/postgres/internal/sessiontest"
	"github.com/sessionsql/postgres/internal/testkit"
	"github.com/sessionsql/postgres/sessionsql"
)

var must = testkit.Must

func TestStorageIsAKeyValueStore(t *testing.T) {
	cluster := keyvaluetest.StartCluster(t)
	for name, options := range map[string]*sessionsql.CacheOptions{"default": nil, "Final": {Final: true}} {
		t.Run(name, func(t *testing.T) {
			keyvaluetest.Run(t, cluster, func(store *sessionsql.Store) keyvaluetest.Adapter {
				s := sessionsqlfiber.NewStorage(store, "fiber", options)
				return keyvaluetest.Adapter{
					Get:    s.GetWithContext,
					Set:    s.SetWithContext,
					Delete: s.DeleteWithContext,
					SetForever: func(ctx context.Context, key string, value []byte) error {
						return s.SetWithContext(ctx, key, value, 0)
					},
					Reset: s.ResetWithContext,
					Final: options != nil,
				}
			})
		})
	}
}

// TestStorageKeepsFibersContract checks what the comments of fiber.Storage say and other stores do not.
func TestStorageKeepsFibersContract(t *testing.T) {
	d := sessiontest.NewDatabase(t, sessiontest.StartCluster(t, nil))
	store := d.Store(t, nil)
	s := sessionsqlfiber.NewStorage(store, "fiber", nil)
	must(t, s.Set("a", []byte("value"), time.Hour))
	for _, empty := range [][]byte{nil, {}} { // ignored without an error
		must(t, s.Set("", []byte("value"), 0))
		must(t, s.Set("a", empty, 0))
		must(t, s.Set("b", empty, 0))
	}
	if value, err := s.Get("a"); err != nil || string(value) != "value" {
		t.Errorf("after Set of an empty value: %q, %v", value, err)
	}
	for _, key := range []string{"", "b"} {
		if value, err := s.Get(key); value != nil || err != nil {
			t.Errorf("Get(%q): %q, %v", key, value, err)
		}
	}
	must(t, s.Delete("a"))
	if value, err := s.Get("a"); value != nil || err != nil {
		t.Errorf("after Delete: %q, %v", value, err)
	}
	must(t, s.Set("a", []byte("value"), 0))
	must(t, s.Reset())
	if value, err := s.Get("a"); value != nil || err != nil {
		t.Errorf("after Reset: %q, %v", value, err)
	}
	must(t, s.Close())
	if _, err := store.Version(t.Context()); err != nil {
		t.Errorf("Close ended the Store, which others may use: %v", err)
	}
}
