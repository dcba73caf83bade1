package shards_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/jmoiron/sqlx"

	"github.com/sessionsql/postgres/examples/shards"
	"github.com/sessionsql/postgres/internal/pgcluster"
	"github.com/sessionsql/postgres/internal/testkit"
	"github.com/sessionsql/postgres/sessionsql"
)

// These are the primaries 0 to 3 of 4.
var dsns [4]string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	ctx := context.Background()
	cluster, err := pgcluster.Start(ctx, nil)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = cluster.Close() }()
	for i := range dsns {
		name := fmt.Sprint("shard", i)
		admin := sqlx.MustOpen("pgx", cluster.Primary.DSN("postgres"))
		admin.MustExec("CREATE DATABASE " + name)
		_ = admin.Close()
		dsns[i] = cluster.Primary.DSN(name)
		pool := sqlx.MustOpen("pgx", dsns[i])
		if err := sessionsql.Install(ctx, pool); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		pool.MustExec("SELECT sessionsql.shard(shards => 4, shard => $1)", i)
		_ = pool.Close()
	}
	return m.Run()
}

func openStores(ctx context.Context) (stores shards.Stores) {
	for _, dsn := range dsns {
		store, err := sessionsql.Open(ctx, dsn, nil, nil)
		if err != nil {
			log.Fatal(err)
		}
		stores = append(stores, store)
	}
	return stores
}

func closeStores(ctx context.Context, stores shards.Stores) {
	for _, store := range stores {
		_ = store.Close(ctx)
	}
}

func Example() {
	ctx := context.Background()
	stores := openStores(ctx)
	defer closeStores(ctx, stores)

	token, err := stores.Any().Insert(ctx, `{"cart": [1]}`, &sessionsql.InsertOptions{Subject: "ann"})
	if err != nil {
		log.Fatal(err)
	}
	sess, err := stores.Of(token).Lookup(ctx, token)
	fmt.Println(sess.Payload, err)

	// The sessions of a subject may be on every shard.
	ended := int64(0)
	for _, store := range stores {
		n, err := store.RevokeSubject(ctx, "ann", "")
		if err != nil {
			log.Fatal(err)
		}
		ended += n
	}
	fmt.Println(ended)
	_, err = stores.Of(token).Lookup(ctx, token)
	fmt.Println(err)
	// Output:
	// {"cart": [1]} <nil>
	// 1
	// sessionsql: no such session
}

func TestATokenLeadsToItsShard(t *testing.T) {
	ctx := t.Context()
	stores := openStores(ctx)
	defer closeStores(ctx, stores)
	used := map[*sessionsql.Store]bool{}
	for range 100 {
		chosen := stores.Any()
		used[chosen] = true
		token, err := chosen.Insert(ctx, "p", nil)
		testkit.Must(t, err)
		if stores.Of(token) != chosen {
			t.Fatal("a token leads to another Store than that of its session")
		}
		if _, err := stores.Of(token).Lookup(ctx, token); err != nil {
			t.Errorf("Lookup: %v", err)
		}
		for _, store := range stores {
			_, err := store.Lookup(ctx, token)
			if store != chosen && !errors.Is(err, sessionsql.ErrUnavailable) {
				t.Errorf("Lookup on another shard: %v", err)
			}
		}
	}
	if len(used) != len(stores) {
		t.Errorf("new sessions went to %d of %d shards", len(used), len(stores))
	}
	for _, token := range []sessionsql.Token{"", "short", "not base64, and not short of characters"} {
		if _, err := stores.Of(token).Lookup(ctx, token); !errors.Is(err, sessionsql.ErrNoSession) {
			t.Errorf("Lookup of a malformed token: %v", err)
		}
	}
}
