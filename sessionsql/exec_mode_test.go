package sessionsql_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sessionsql/postgres/internal/sessiontest"
	"github.com/sessionsql/postgres/sessionsql"
)

// A pooler or proxy determines which of pgx's protocol modes a program can use.
func TestStoreWorksInEveryExecMode(t *testing.T) {
	for _, mode := range execModes {
		t.Run(mode, func(t *testing.T) {
			d := newDatabase(t)
			store := sessiontest.OpenStore(t, d.PrimaryDSN()+"&default_query_exec_mode="+mode, nil, nil)
			defer closeStore(t, store)
			long := "日本語\n" + strings.Repeat("long ", 1000)
			payloads := []string{"", `{"quote": "'\"\\", "brace": "{}"}`, "NULL", long}
			var wait sync.WaitGroup
			for i := range 64 { // enough callers for batches
				wait.Go(func() {
					payload := payloads[i%len(payloads)]
					own := &sessionsql.InsertOptions{Subject: strings.Repeat("it's", i%2)}
					token, err := store.Insert(t.Context(), payload, own)
					if err != nil {
						t.Error(err)
						return
					}
					sess, err := store.Lookup(t.Context(), token)
					if err != nil || sess.Payload != payload || sess.Subject != own.Subject ||
						sess.Version != 1 {
						t.Errorf("exec mode %d: payload %q, error %v", i, sess.Payload, err)
					}
					version, err := store.Update(t.Context(), token, payload+"!", 1)
					if err != nil || version != 2 {
						t.Errorf("exec mode %d: version %d, error %v", i, version, err)
					}
					if _, err := store.Update(t.Context(), token, "late", 1); err != sessionsql.ErrConflict {
						t.Errorf("%d: %v", i, err)
					}
					if err := store.Revoke(t.Context(), token); err != nil {
						t.Errorf("%d: %v", i, err)
					}
				})
			}
			wait.Wait()
			must(t, store.Flush(t.Context()))
			mustReap(t, store)
		})
	}
}

// Callers of two caches share batches, in which some entries keep their keys, have a slack or never expire.
func TestCachesWorkInEveryExecMode(t *testing.T) {
	for _, mode := range execModes {
		t.Run(mode, func(t *testing.T) {
			d := newDatabase(t)
			store := sessiontest.OpenStore(t, d.PrimaryDSN()+"&default_query_exec_mode="+mode, nil, nil)
			defer closeStore(t, store)
			caches := []*sessionsql.Cache{
				store.Cache("plain", nil),
				store.Cache("kept", &sessionsql.CacheOptions{KeepKeys: true, Slack: time.Minute}),
			}
			values := []string{"", "\xff\x00", `"NULL", '{}'\`, strings.Repeat("long ", 1000)}
			var wait sync.WaitGroup
			for i := range 64 { // enough callers for batches
				wait.Go(func() {
					cache, value := caches[i%2], values[i%len(values)]
					key := fmt.Sprintf("key '%d'", i)
					ttl := time.Duration(i%3) * time.Hour
					if err := cache.Set(t.Context(), key, []byte(value), ttl); err != nil {
						t.Errorf("%d: %v", i, err)
					}
					entry, err := cache.Get(t.Context(), key)
					if err != nil || string(entry.Value) != value || (entry.ExpiresIn == 0) != (ttl == 0) {
						t.Errorf("%d: %q, %v left, error %v", i, entry.Value, entry.ExpiresIn, err)
					}
				})
			}
			wait.Wait()
			kept := 0
			for entry, err := range caches[1].All(t.Context()) {
				must(t, err)
				kept++
				var i int
				if _, err := fmt.Sscanf(entry.Key, "key '%d'", &i); err != nil || i%2 != 1 {
					t.Errorf("%q is kept", entry.Key)
				}
			}
			if kept != 32 {
				t.Errorf("%d keys are kept, not 32", kept)
			}
		})
	}
}
