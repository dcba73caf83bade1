package sessionsqlscs_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	sessionsqlscs "github.com/sessionsql/postgres/adapters/scs"
	"github.com/sessionsql/postgres/internal/keyvaluetest"
	"github.com/sessionsql/postgres/internal/sessiontest"
	"github.com/sessionsql/postgres/internal/testkit"
	"github.com/sessionsql/postgres/sessionsql"
)

var must = testkit.Must

func TestStoreIsAKeyValueStore(t *testing.T) {
	cluster := keyvaluetest.StartCluster(t)
	for name, options := range map[string]*sessionsqlscs.Options{
		"default": nil, "KeepTokens": {Space: "with tokens", KeepTokens: true, Slack: -1},
	} {
		t.Run(name, func(t *testing.T) {
			keyvaluetest.Run(t, cluster, func(store *sessionsql.Store) keyvaluetest.Adapter {
				s := sessionsqlscs.NewStore(store, options)
				return keyvaluetest.Adapter{
					Get: func(ctx context.Context, token string) ([]byte, error) {
						data, found, err := s.FindCtx(ctx, token)
						if found != (data != nil) {
							t.Errorf("found %v, with %d bytes", found, len(data))
						}
						return data, err
					},
					Set: func(ctx context.Context, token string, data []byte, ttl time.Duration) error {
						return s.CommitCtx(ctx, token, data, time.Now().Add(ttl))
					},
					Delete: s.DeleteCtx,
					Final:  true,
				}
			})
		})
	}
}

func TestAllReturnsTheLiveSessions(t *testing.T) {
	d := sessiontest.NewDatabase(t, sessiontest.StartCluster(t, nil))
	store := d.Store(t, nil)
	s := sessionsqlscs.NewStore(store, &sessionsqlscs.Options{KeepTokens: true})
	all, err := s.All()
	if err != nil || all == nil || len(all) != 0 {
		t.Errorf("without sessions: %v, %v", all, err)
	}
	want := map[string][]byte{}
	for i := range 2500 {
		token := fmt.Sprint(i)
		must(t, s.Commit(token, []byte("data of "+token), time.Now().Add(time.Hour)))
		want[token] = []byte("data of " + token)
	}
	must(t, s.Commit("past", []byte("data"), time.Now().Add(-time.Second)))
	must(t, s.Delete("1"))
	delete(want, "1")
	other := sessionsqlscs.NewStore(store, &sessionsqlscs.Options{Space: "other", KeepTokens: true})
	must(t, other.Commit("other", []byte("data"), time.Now().Add(time.Hour)))
	all, err = s.All()
	if err != nil || !maps.EqualFunc(all, want, func(a, b []byte) bool { return string(a) == string(b) }) {
		t.Errorf("%d sessions, %v; want %d", len(all), err, len(want))
	}

	withoutTokens := sessionsqlscs.NewStore(store, &sessionsqlscs.Options{Space: "hashed"})
	must(t, withoutTokens.Commit("token", []byte("data"), time.Now().Add(time.Hour)))
	if all, err := withoutTokens.All(); all != nil || !errors.Is(err, sessionsql.ErrOptions) {
		t.Errorf("without KeepTokens: %v, %v", all, err)
	}
}
