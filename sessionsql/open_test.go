package sessionsql_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sessionsql/postgres/internal/sessiontest"
	"github.com/sessionsql/postgres/sessionsql"
	bundle "github.com/sessionsql/postgres/sql"
)

func TestOpenSaysWhatIsWrong(t *testing.T) {
	d := newDatabase(t)
	empty := emptyDatabaseIn(t, shared)
	stale := newDatabase(t)
	stale.primary.MustExec(
		"CREATE OR REPLACE FUNCTION sessionsql.version() RETURNS text LANGUAGE sql AS $$ SELECT '0.0.9' $$")

	for name, test := range map[string]struct {
		dsn  string
		is   error
		says string
	}{
		"bad DSN": {
			"host=localhost port=canary", sessionsql.ErrDSN, "postgres://user:password@host:5432/database",
		},
		"bad URL":          {"postgres://user:canary@%zz", sessionsql.ErrDSN, "primary"},
		"nobody there":     {nobodyDSN, sessionsql.ErrUnavailable, "127.0.0.1:1"},
		"no such database": {shared.Primary.DSN("absent"), sessionsql.ErrUnavailable, "absent"},
		"missing bundle":   {empty.PrimaryDSN(), sessionsql.ErrNotInstalled, "sessionsql.Install"},
		"read-only primary": {
			d.ReplicaDSNs()[0], sessionsql.ErrReadOnly, "target_session_attrs=read-write",
		},
		"bundle of another":    {stale.PrimaryDSN(), nil, "0.0.9"},
		"replica DSN is wrong": {d.PrimaryDSN(), nil, ""},
	} {
		var replicas []string
		if name == "replica DSN is wrong" {
			replicas, test.is, test.says = []string{"port=canary"}, sessionsql.ErrDSN, "replica 1"
		}
		_, err := sessionsql.Open(t.Context(), test.dsn, replicas, nil)
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		if test.is != nil && !errors.Is(err, test.is) || !strings.Contains(err.Error(), test.says) ||
			strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", name, err)
		}
		t.Logf("%s: %v", name, err)
		var version *sessionsql.VersionError
		if errors.As(err, &version) != (name == "bundle of another") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, options := range map[string]*sessionsql.Options{
		"idle timeout": {IdleTimeout: -1}, "lifetime": {Lifetime: -1}, "payload": {MaxPayloadBytes: -1},
		"touches": {MaxPendingTouches: -1}, "lag": {MaxReplicaLag: -1},
	} {
		if _, err := sessionsql.OpenDB(d.primary, nil, options); !errors.Is(err, sessionsql.ErrOptions) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := sessionsql.OpenDB(nil, nil, nil); !errors.Is(err, sessionsql.ErrOptions) {
		t.Errorf("no primary: %v", err)
	}
}

func TestOperationsSayThatTheBundleIsMissing(t *testing.T) {
	store := sessiontest.OpenStoreOver(t, emptyDatabaseIn(t, shared).primary, nil)
	defer closeStore(t, store)
	if _, err := store.Insert(t.Context(), "p", nil); !errors.Is(err, sessionsql.ErrNotInstalled) {
		t.Errorf("Insert: %v", err)
	}
	_, err := store.Lookup(t.Context(), wellFormed)
	if !errors.Is(err, sessionsql.ErrNotInstalled) {
		t.Errorf("Lookup: %v", err)
	}
}

func TestInstallIsIdempotentAndConcurrent(t *testing.T) {
	d := emptyDatabaseIn(t, shared)
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			if err := sessionsql.Install(t.Context(), d.primary); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	store := d.Store(t, nil)
	token := mustInsert(t, store, "p", nil)
	must(t, sessionsql.Install(t.Context(), d.primary))
	if sess, err := store.Lookup(t.Context(), token); err != nil || sess.Payload != "p" {
		t.Errorf("after installing again: %q, %v", sess.Payload, err)
	}
	if got, err := store.Version(t.Context()); err != nil || got != bundle.Version {
		t.Errorf("version %s, %v; want %s", got, err, bundle.Version)
	}
	if got := get[string](t, d.primary, "SHOW search_path"); got != `"$user", public` {
		t.Errorf("search_path is %s after Install", got)
	}
}

func TestInstallUnderLoadDisturbsNobody(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nil)
	underLoad(t, store, func() {
		for range 5 {
			d.pretendOlder()
			must(t, sessionsql.Install(t.Context(), d.primary))
		}
	})
}

// A server may be built without lz4, as some that the tests fetch are.
func TestPayloadsAreCompressedWithLZ4WhereTheServerCan(t *testing.T) {
	d := newDatabase(t)
	want := get[string](t, d.primary, `
		SELECT CASE WHEN 'lz4' = ANY (enumvals) THEN 'l' ELSE '' END
		FROM pg_settings WHERE name = 'default_toast_compression'`)
	compression := func() string {
		return get[string](t, d.primary, `
			SELECT attcompression FROM pg_attribute
			WHERE attrelid = 'sessionsql.session'::regclass AND attname = 'payload'`)
	}
	if got := compression(); got != want {
		t.Errorf("compression %q, want %q", got, want)
	}
	// An upgrade keeps an operator's choice.
	d.primary.MustExec("ALTER TABLE sessionsql.session ALTER COLUMN payload SET COMPRESSION pglz")
	d.pretendOlder()
	must(t, sessionsql.Install(t.Context(), d.primary))
	if got := compression(); got != "p" {
		t.Errorf("after another install: compression %q, want %q", got, "p")
	}
}

func TestUninstallLeavesNothing(t *testing.T) {
	d := newDatabase(t)
	d.primary.MustExec(bundle.Uninstall())
	if n := get[int](t, d.primary, "SELECT count(*) FROM pg_namespace WHERE nspname = 'sessionsql'"); n != 0 {
		t.Error("the schema is left")
	}
	d.primary.MustExec(bundle.Uninstall())
	must(t, sessionsql.Install(t.Context(), d.primary))
}

func TestNothingIsLeftToPublic(t *testing.T) {
	d := newDatabase(t)
	var open []string
	must(t, d.primary.Select(&open, `
		SELECT p.oid::regprocedure::text FROM pg_proc AS p
		WHERE p.pronamespace = 'sessionsql'::regnamespace
		  AND has_function_privilege('public', p.oid, 'EXECUTE')
		UNION ALL
		SELECT c.oid::regclass::text FROM pg_class AS c
		WHERE c.relnamespace = 'sessionsql'::regnamespace AND c.relkind IN ('r', 'v')
		  AND has_table_privilege('public', c.oid, 'SELECT')`))
	if len(open) > 0 {
		t.Errorf("PUBLIC may use %v", open)
	}
}

func TestEverythingIsDocumented(t *testing.T) {
	d := newDatabase(t)
	var bare []string
	must(t, d.primary.Select(&bare, `
		SELECT p.oid::regprocedure::text FROM pg_proc AS p
		WHERE p.pronamespace = 'sessionsql'::regnamespace AND obj_description(p.oid, 'pg_proc') IS NULL
		UNION ALL
		SELECT c.oid::regclass::text FROM pg_class AS c
		WHERE c.relnamespace = 'sessionsql'::regnamespace AND c.relkind IN ('r', 'v')
		  AND obj_description(c.oid, 'pg_class') IS NULL
		UNION ALL
		SELECT c.oid::regclass::text || '.' || a.attname FROM pg_class AS c
		JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0
		WHERE c.relnamespace = 'sessionsql'::regnamespace AND c.relkind IN ('r', 'v')
		  AND col_description(c.oid, a.attnum) IS NULL`))
	if len(bare) > 0 {
		t.Errorf("no COMMENT ON %v", bare)
	}
}

func TestReplicaThatLagsIsLeftOut(t *testing.T) {
	d := newDatabase(t)
	var log logBuffer
	options := quiet()
	options.MaxReplicaLag, options.Logger = time.Millisecond, log.logger()
	store := d.Store(t, options)
	usable := func() bool { return store.Stats().Replicas[0].Usable }
	eventually(t, "the replica is read from", usable)
	d.replica.MustExec("SELECT pg_wal_replay_pause()")
	token := mustInsert(t, store, "p", nil)
	eventually(t, "the lagging replica is left out", func() bool { return !usable() })
	if replica := store.Stats().Replicas[0]; replica.Err == nil || replica.Lag == 0 {
		t.Errorf("the lagging replica has no error or no lag: %+v", replica)
	}
	if sess, err := store.Lookup(t.Context(), token); err != nil || sess.Payload != "p" {
		t.Errorf("Lookup returned payload %q and error %v", sess.Payload, err)
	}
	if misses := store.Stats().ReplicaMisses; misses != 0 {
		t.Errorf("the Store read the replica %d times", misses)
	}
	d.replica.MustExec("SELECT pg_wal_replay_resume()")
	eventually(t, "the replica is read from again", usable)
	if text := log.String(); !strings.Contains(text, "replica left out") ||
		!strings.Contains(text, "read from again") {
		t.Errorf("the log lacks a line: %s", text)
	}
}

// How long a replica has lagged already, no probe tells.
func TestAReplicaThatLagsWhenAStoreStartsIsNotReadFrom(t *testing.T) {
	d := newDatabase(t)
	admin := d.Store(t, nil)
	token := mustInsert(t, admin, "p", nil)
	d.CatchUp(t)
	d.pauseReplay(t)
	must(t, admin.Revoke(t.Context(), token))
	var stores []*sessionsql.Store
	for range 3 {
		store := sessiontest.OpenStore(t, d.PrimaryDSN(), d.ReplicaDSNs(), nil)
		for range 100 {
			if _, err := store.Lookup(t.Context(), token); err != sessionsql.ErrNoSession {
				t.Fatalf("Lookup of a session that was revoked before the Store started: %v", err)
			}
		}
		if replica := store.Stats().Replicas[0]; !sessiontest.LagUnknown(replica) {
			t.Errorf("the replica is left out because of %v", replica.Err)
		}
		stores = append(stores, store)
	}
	d.replica.MustExec("SELECT pg_wal_replay_resume()")
	for _, store := range stores {
		eventually(t, "the replica is read from", func() bool { return store.Stats().Replicas[0].Usable })
	}
}

func TestAPrimaryIsNoReplica(t *testing.T) {
	d := newDatabase(t)
	store := sessiontest.OpenStore(t, d.PrimaryDSN(), []string{d.PrimaryDSN()}, nil)
	defer closeStore(t, store)
	token := mustInsert(t, store, "p", nil)
	mustLookup(t, store, token)
	if stats := store.Stats(); stats.Replicas[0].Usable || stats.PrimaryReads != 1 {
		t.Errorf("the replica is usable or the primary was not read once: %+v", stats)
	}
}

func TestSessionNeverPrintsItsPayload(t *testing.T) {
	sess := sessionsql.Session{Payload: "canary", Subject: "canary", Version: 7}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		if text := fmt.Sprintf(verb, sess); strings.Contains(text, "canary") ||
			strings.Contains(text, "63616e617279") {
			t.Errorf("%s: %s", verb, text)
		}
	}
}
