package sessionsql_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/sessionsql/postgres/internal/pgcluster"
	"github.com/sessionsql/postgres/sessionsql"
)

// A shiftedClock moves the clock of a running server.
type shiftedClock struct{ file string }

// shiftClock restarts a server under libfaketime.
func shiftClock(t *testing.T, node *pgcluster.Node) shiftedClock {
	t.Helper()
	found, err := filepath.Glob("/usr/lib*/*/faketime/libfaketime.so.1")
	must(t, err)
	if len(found) == 0 {
		if os.Getenv("SESSIONSQL_REQUIRE_PACKAGES") != "" {
			t.Fatal("libfaketime is missing: install it (Debian: libfaketime)")
		}
		t.Skip("libfaketime is missing, so no test shifts a server's clock")
	}
	clock := shiftedClock{filepath.Join(node.DataDir, "faketime")}
	clock.by(t, "+0")
	node.Env = []string{
		"LD_PRELOAD=" + found[0], "FAKETIME_TIMESTAMP_FILE=" + clock.file, "FAKETIME_NO_CACHE=1",
		"FAKETIME_DONT_FAKE_MONOTONIC=1", // timers keep their time
	}
	must(t, node.Stop(t.Context()))
	must(t, node.Start(t.Context()))
	return clock
}

// by shifts the clock by a number of seconds.
func (c shiftedClock) by(t *testing.T, seconds string) {
	t.Helper()
	must(t, os.WriteFile(c.file+".new", []byte(seconds+"\n"), 0o644)) // the account of the servers reads it
	must(t, os.Rename(c.file+".new", c.file))
}

func TestAReplicaWhoseClockIsWrongIsNotReadFrom(t *testing.T) {
	f := newFaulty(t, 1)
	clocks := map[string]shiftedClock{
		"primary": shiftClock(t, f.Cluster.Primary),
		"replica": shiftClock(t, f.Cluster.Replicas[0]),
	}
	store := f.open(t, nil)
	// The restart has closed the connections of the earlier pools.
	primary, replica := open(t, f.PrimaryDSN()), open(t, f.Cluster.Replicas[0].DSN(f.Name))
	usable := func() bool { return store.Stats().Replicas[0].Usable }
	for _, test := range []struct{ server, by string }{
		{"replica", "-5"}, {"replica", "+5"}, {"primary", "-5"}, {"primary", "+5"},
	} {
		clocks[test.server].by(t, test.by)
		eventually(t, test.server+" by "+test.by+" s: the replica is left out", func() bool {
			return !usable()
		})
		err := store.Stats().Replicas[0].Err
		if err == nil || !strings.Contains(err.Error(), "clock differs") {
			t.Errorf("%s by %s s: the Store leaves the replica out because %v", test.server, test.by, err)
		}
		if test.server == "replica" && test.by == "-5" {
			deadOnPrimaryAlone(t, store, primary, replica)
		}
		clocks[test.server].by(t, "+0")
		eventually(t, test.server+" by 0 s: the replica is read from again", usable)
	}

	// A small difference, which a deadline may be missed by, does not exclude a replica.
	clocks["replica"].by(t, "-0.3")
	looks := get[float64](t, primary, "SELECT clock FROM sessionsql.node")
	eventually(t, "the Store has looked again", func() bool {
		return get[float64](t, replica, "SELECT clock FROM sessionsql.node") > looks+1
	})
	if !usable() {
		t.Errorf("by 0.3 s: the Store leaves the replica out because %v", store.Stats().Replicas[0].Err)
	}
}

// deadOnPrimaryAlone looks up a session that has expired by the primary's clock but not by the replica's.
func deadOnPrimaryAlone(t *testing.T, store *sessionsql.Store, primary, replica *sqlx.DB) {
	t.Helper()
	token := mustInsert(t, store, "p", &sessionsql.InsertOptions{
		IdleTimeout: 750 * time.Millisecond,
	})
	const alive = "SELECT count(*) FROM sessionsql.find_session($1)"
	eventually(t, "it has expired on the primary", func() bool {
		return get[int](t, primary, alive, string(token)) == 0
	})
	waitReplayed(t, primary, replica)
	if get[int](t, replica, alive, string(token)) != 1 {
		t.Error("the session has expired on the replica too, so this test proves nothing")
	}
	for range 100 {
		if _, err := store.Peek(t.Context(), token); err != sessionsql.ErrNoSession {
			t.Fatalf("an expired session: %v", err)
		}
	}
}
