package sessionsql_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sessionsql/postgres/internal/coalesce"
	"github.com/sessionsql/postgres/internal/pgcluster"
	"github.com/sessionsql/postgres/internal/sessiontest"
	"github.com/sessionsql/postgres/sessionsql"
	bundle "github.com/sessionsql/postgres/sql"
)

// newRouter makes a router of so many shards. Each shard is a database of the shared primary or, if it is to
// fail, of a cluster of its own.
func newRouter(t testing.TB, shards int, clusters ...*pgcluster.Cluster) *database {
	t.Helper()
	r := emptyDatabaseIn(t, shared)
	sessiontest.RequireProxy(t, r.primary.DB)
	var options []string
	for i := range shards {
		cluster := shared
		if len(clusters) > 0 {
			cluster = clusters[i%len(clusters)]
		}
		shard := emptyDatabaseIn(t, cluster)
		installRoles(t, shard.primary)
		shard.shard(t, shards, i)
		user := shard.login(t, "sessionsql_app", "sessionsql_support")
		options = append(options, fmt.Sprintf("p%d 'host=127.0.0.1 port=%d dbname=%s user=%s'",
			i, cluster.Primary.Port, shard.Name, user))
		r.shards = append(r.shards, shard)
	}
	tx := r.primary.MustBegin()
	defer func() { _ = tx.Rollback() }()
	tx.MustExec(bundle.Install())
	tx.MustExec(bundle.Roles())
	tx.MustExec(bundle.Router())
	tx.MustExec("CREATE SERVER sessionsql FOREIGN DATA WRAPPER plproxy OPTIONS (" +
		strings.Join(options, ", ") + ")")
	tx.MustExec("GRANT USAGE ON FOREIGN SERVER sessionsql TO sessionsql_owner")
	tx.MustExec("CREATE USER MAPPING FOR sessionsql_owner SERVER sessionsql")
	must(t, tx.Commit())
	r.CatchUp(t)
	r.appDSN = asUser(t, r.PrimaryDSN(), r.login(t, "sessionsql_app", "sessionsql_support"))
	return r
}

// Every function that reaches a table has a counterpart of the same signature, which goes to the shards. A
// function that the bundle gains fails this test until the router has it.
func TestARouterHasEveryFunctionOfTheBundle(t *testing.T) {
	r := newRouter(t, 2)
	const signatures = `SELECT p.oid::regprocedure::text || ' ' || pg_get_function_arguments(p.oid) || ' ' ||
		COALESCE(pg_get_function_result(p.oid), '') FROM pg_proc AS p
		WHERE p.pronamespace = 'sessionsql'::regnamespace ORDER BY 1`
	var want, got []string
	must(t, r.shards[0].primary.Select(&want, signatures))
	must(t, r.primary.Select(&got, signatures))
	wantLines(t, "the functions of a router", got, want)

	local := []string{
		// These are steps of functions that the router replaces.
		"begin_change_epoch", "end_excess", "evict", "lock_excess", "log_entries", "log_truncate",
		// These are about the router's own server.
		"note_timeline", "purge_changes", "shard",
	}
	var left []string
	must(t, r.primary.Select(&left, `
		SELECT p.proname
		FROM pg_proc AS p
		WHERE p.pronamespace = 'sessionsql'::regnamespace
		  AND concat(p.prosrc, pg_get_function_sqlbody(p.oid)) ~ (
		    SELECT '(FROM|JOIN|INTO|UPDATE|USING|TABLE) \(*sessionsql\.('
		      || string_agg(c.relname, '|') || ')\M'
		    FROM pg_class AS c
		    WHERE c.relnamespace = 'sessionsql'::regnamespace AND c.relkind IN ('r', 'v')
		  )
		ORDER BY 1`))
	wantLines(t, "the functions that reach a table of the router", left, local)
	var open []string
	must(t, r.primary.Select(&open, `
		SELECT p.oid::regprocedure::text
		FROM pg_proc AS p
		WHERE p.pronamespace IN ('sessionsql'::regnamespace, to_regnamespace('sessionsql_router'))
		  AND (has_function_privilege('public', p.oid, 'EXECUTE')
		    OR p.proowner <> 'sessionsql_owner'::regrole)`))
	if len(open) > 0 {
		t.Errorf("open to everybody, or of another owner: %v", open)
	}
}

func TestAStoreDoesEverythingThroughARouter(t *testing.T) {
	r := newRouter(t, 4)
	store := r.Store(t, nil)
	ctx := t.Context()
	tokens := make([]sessionsql.Token, 400)
	atOnce(64, func(worker int) {
		for i := worker; i < len(tokens); i += 64 {
			payload := fmt.Sprint("p", i)
			own := &sessionsql.InsertOptions{Subject: fmt.Sprint("u", i%8), Label: payload}
			token, err := store.Insert(ctx, payload, own)
			if err != nil {
				t.Error(err)
				return
			}
			tokens[i] = token
			if sess, err := store.Lookup(ctx, token); err != nil || sess.Payload != payload {
				t.Errorf("Lookup: %q, %v", sess.Payload, err)
			}
			if version, err := store.Update(ctx, token, payload+"!", 1); err != nil || version != 2 {
				t.Errorf("Update: %d, %v", version, err)
			}
			if _, err := store.Update(ctx, token, "lost", 1); !errors.Is(err, sessionsql.ErrConflict) {
				t.Errorf("Update of an old version: %v", err)
			}
		}
	})
	if t.Failed() {
		return
	}
	for i, shard := range r.shards {
		if n := shard.countWhere(t, "id % 4 = $1", i); n < 20 || n != shard.countAll(t) {
			t.Errorf("shard %d has %d sessions of its own, %d in all", i, n, shard.countAll(t))
		}
		shard.primary.MustExec("UPDATE sessionsql.session SET expires_at = now() + interval '1 minute'")
	}
	must(t, store.Flush(ctx))
	if stats := store.Stats(); stats.SessionsExtended != 400 {
		t.Errorf("a flush extended %d sessions", stats.SessionsExtended)
	}

	list := mustList(t, store, "u0", tokens[0])
	if len(list) != 50 {
		t.Fatalf("the list has %d sessions", len(list))
	}
	for i, entry := range list {
		if i > 0 && entry.CreatedAt.After(list[i-1].CreatedAt) {
			t.Error("the list is not in order")
		}
		if entry.Current != (entry.ID == idOf(t, tokens[0])) {
			t.Error("the wrong session is the current one")
		}
	}
	must(t, store.RevokeListed(ctx, tokens[0], idOf(t, tokens[8])))
	for name, id := range map[string]int64{"of another": idOf(t, tokens[1]), "own": idOf(t, tokens[0])} {
		if err := store.RevokeListed(ctx, tokens[0], id); err != sessionsql.ErrNoSession {
			t.Errorf("RevokeListed of a session, %s: %v", name, err)
		}
	}
	if _, err := store.Lookup(ctx, tokens[8]); err != sessionsql.ErrNoSession {
		t.Errorf("Lookup of a revoked session: %v", err)
	}
	if n, err := store.RevokeSubject(ctx, "u0", tokens[0]); n != 48 || err != nil {
		t.Errorf("RevokeSubject ended %d, %v", n, err)
	}
	renewed := mustRotate(t, store, tokens[0], &sessionsql.RotateOptions{Subject: "v"})
	if sess := mustLookup(t, store, renewed); sess.Subject != "v" || sess.Payload != "p0!" {
		t.Errorf("after Rotate: %v", sess)
	}
	if _, err := store.Lookup(ctx, tokens[0]); err != sessionsql.ErrNoSession {
		t.Errorf("Lookup of the old token: %v", err)
	}
	must(t, store.Revoke(ctx, renewed))
	if err := store.Revoke(ctx, renewed); err != sessionsql.ErrNoSession {
		t.Errorf("a second Revoke: %v", err)
	}
	for _, shard := range r.shards {
		shard.primary.MustExec("UPDATE sessionsql.session SET expires_at = now() - interval '1 second'")
	}
	reaped := int64(0)
	for range 2 {
		reaped += mustReap(t, store).Reaped
	}
	if reaped != 350 {
		t.Errorf("Reap deleted %d sessions", reaped)
	}
	if n := r.countAll(t); n != 0 {
		t.Errorf("the router itself holds %d sessions", n)
	}
}

// A router plans a batch anew on each shard, so a Store sends it larger batches than it sends one server.
func TestBatchesOfARouterAreLarger(t *testing.T) {
	r := newRouter(t, 4)
	r.primary.MustExec(`
		CREATE FUNCTION sessionsql.routed_batch(ids bigint[], secret_hashes bytea[])
		RETURNS SETOF sessionsql.live_session LANGUAGE plproxy SECURITY DEFINER AS $$
		  CLUSTER 'sessionsql';
		  SPLIT ids, secret_hashes;
		  RUN ON ids;
		  TARGET sessionsql.lookup_batch;
		$$`)
	r.primary.MustExec("ALTER FUNCTION sessionsql.routed_batch OWNER TO sessionsql_owner")
	r.primary.MustExec("CREATE TABLE batch (size integer)")
	r.primary.MustExec("GRANT INSERT ON batch TO sessionsql_owner")
	r.primary.MustExec(`
		CREATE OR REPLACE FUNCTION sessionsql.lookup_batch(ids bigint[], secret_hashes bytea[])
		RETURNS SETOF sessionsql.live_session LANGUAGE plpgsql SECURITY DEFINER AS $$
		BEGIN
		  INSERT INTO public.batch VALUES (cardinality(ids));
		  RETURN QUERY SELECT * FROM sessionsql.routed_batch(ids, secret_hashes);
		END $$`)
	store := r.Store(t, nil)
	tokens := make([]sessionsql.Token, 4*coalesce.MaxCalls)
	for i := range tokens {
		tokens[i] = mustInsert(t, store, fmt.Sprint(i), nil)
	}
	eventually(t, "a batch has more calls than one for a single server", func() bool {
		atOnce(len(tokens), func(i int) {
			sess, err := store.Lookup(t.Context(), tokens[i])
			if err != nil || sess.Payload != fmt.Sprint(i) {
				t.Errorf("Lookup: %q, %v", sess.Payload, err)
			}
		})
		return get[int](t, r.primary, "SELECT COALESCE(max(b.size), 0) FROM batch AS b") > coalesce.MaxCalls
	})
}

func TestACacheWorksThroughARouter(t *testing.T) {
	r := newRouter(t, 4)
	store := r.Store(t, nil)
	ctx := t.Context()
	cache := store.Cache("c", &sessionsql.CacheOptions{KeepKeys: true, MaxBytes: 1 << 30})
	final := store.Cache("f", &sessionsql.CacheOptions{Final: true})
	atOnce(64, func(i int) {
		key := fmt.Sprint(i)
		if err := cache.Set(ctx, key, []byte(key), time.Hour); err != nil {
			t.Error(err)
		}
		if entry, err := cache.Get(ctx, key); err != nil || string(entry.Value) != key {
			t.Errorf("Get: %q, %v", entry.Value, err)
		}
		if _, err := cache.Increment(ctx, "n", 1, time.Hour); err != nil {
			t.Error(err)
		}
		if err := final.Set(ctx, key, nil, 0); err != nil {
			t.Error(err)
		}
		if err := final.Delete(ctx, key); err != nil {
			t.Error(err)
		}
		if err := final.Set(ctx, key, nil, 0); err != sessionsql.ErrEntryEnded {
			t.Errorf("Set after a final delete: %v", err)
		}
	})
	if entry, err := cache.Get(ctx, "n"); err != nil || string(entry.Value) != "64" {
		t.Errorf("the counter is %q, %v", entry.Value, err)
	}
	if n, err := cache.Len(ctx); n != 65 || err != nil {
		t.Errorf("Len: %d, %v", n, err)
	}
	all := map[string]bool{}
	for entry, err := range cache.All(ctx) {
		must(t, err)
		all[entry.Key] = true
	}
	if len(all) != 65 {
		t.Errorf("All returned %d keys", len(all))
	}
	must(t, cache.Touch(ctx, "1", 2*time.Hour))
	must(t, store.Flush(ctx))
	if stats := store.Stats(); stats.EntriesExtended != 1 {
		t.Errorf("a flush extended %d entries", stats.EntriesExtended)
	}
	var loads atomic.Int64
	atOnce(32, func(i int) {
		entry, err := cache.Fetch(ctx, fmt.Sprint("loaded", i%4), time.Hour,
			func(_ context.Context) ([]byte, error) {
				loads.Add(1)
				return []byte("x"), nil
			})
		if err != nil || string(entry) != "x" {
			t.Errorf("Fetch: %q, %v", entry, err)
		}
	})
	if n := loads.Load(); n != 4 {
		t.Errorf("%d loads of 4 entries", n)
	}
	for i, shard := range r.shards {
		if n := get[int](t, shard.primary, `SELECT count(*) FROM sessionsql.cache_entry AS e
			WHERE sessionsql.shard_of(e.key) & 3 = $1`, i); n < 5 {
			t.Errorf("shard %d has %d entries of its own", i, n)
		}
		if n := get[int](t, shard.primary, `SELECT count(*) FROM sessionsql.cache_entry AS e
			WHERE e.plain_key = ''`); n != 0 {
			t.Errorf("shard %d holds %d leases", i, n)
		}
	}
	if _, err := store.ReapCache(ctx); err != nil {
		t.Error(err)
	}
	must(t, cache.Clear(ctx))
	if n, err := cache.Len(ctx); n != 0 || err != nil {
		t.Errorf("Len after Clear: %d, %v", n, err)
	}
}

func TestClientsWithOnlySQLUseARouter(t *testing.T) {
	r := newRouter(t, 4)
	pool := open(t, r.appDSN)
	for range 8 {
		token := get[string](t, pool, "SELECT sessionsql.new_session('p', subject => 'u')")
		payload := get[string](t, pool, "SELECT payload FROM sessionsql.use_session($1)", token)
		if payload != "p" {
			t.Errorf("use_session: %q", payload)
		}
		if version := get[int](t, pool, "SELECT sessionsql.save_session($1, 'q', 1)", token); version != 2 {
			t.Errorf("save_session: %d", version)
		}
		token = get[string](t, pool, "SELECT sessionsql.renew_session($1)", token)
		payload = get[string](t, pool, "SELECT payload FROM sessionsql.find_session($1)", token)
		if payload != "q" {
			t.Errorf("find_session: %q", payload)
		}
		current := get[int](t, pool,
			"SELECT count(*) FROM sessionsql.list_sessions($1) AS l WHERE l.is_current", token)
		if current != 1 {
			t.Errorf("list_sessions has %d current ones", current)
		}
	}
	token := get[string](t, pool, "SELECT sessionsql.new_session('p', subject => 'u')")
	var ids []int64
	must(t, pool.Select(&ids,
		"SELECT id FROM sessionsql.list_sessions($1) AS l WHERE NOT l.is_current", token))
	for _, id := range ids {
		if !get[bool](t, pool, "SELECT sessionsql.end_listed_session($1, $2)", token, id) {
			t.Error("end_listed_session ended nothing")
		}
	}
	if len(ids) != 8 || !get[bool](t, pool, "SELECT sessionsql.end_session($1)", token) {
		t.Errorf("%d other sessions, or end_session ended nothing", len(ids))
	}
	for _, call := range []string{
		"(SELECT count(*) FROM sessionsql.find_session('malformed')) = 0",
		"(SELECT count(*) FROM sessionsql.use_session('malformed')) = 0",
		"(SELECT count(*) FROM sessionsql.lookup_near('{1,2,3}', ARRAY[''::bytea, '', ''])) = 0",
		"sessionsql.shards() = 4",
		"(SELECT count(*) FROM sessionsql.list_sessions('malformed')) = 0",
		"sessionsql.save_session('malformed', 'p') = -1",
		"sessionsql.renew_session('malformed') IS NULL",
		"NOT sessionsql.end_session('malformed')",
		"sessionsql.touch_batch('{}') = 0",
		"sessionsql.cache_set('s', 'k', 'v', '1 hour', '1 minute')",
		"sessionsql.cache_get('s', 'k') = 'v'",
		"NOT sessionsql.cache_touch('s', 'k', '1 minute')",
		"sessionsql.cache_increment('s', 'n', 5) = 5",
		"(SELECT leased FROM sessionsql.cache_fetch_lease('s', 'none', 'me'))",
		"NOT (SELECT leased FROM sessionsql.cache_fetch_lease('s', 'none', 'you'))",
		"sessionsql.cache_end_lease('s', 'none', 'me')",
		"sessionsql.cache_delete('s', 'k')",
		"sessionsql.cache_get('s', 'k') IS NULL",
	} {
		if !get[bool](t, pool, "SELECT "+call) {
			t.Errorf("not true: %s", call)
		}
	}
	pool.MustExec("CALL sessionsql.reap_all()")
	pool.MustExec("SELECT * FROM sessionsql.cache_reap(spaces => '{}', budgets => '{}')")
	_, err := pool.Exec("SELECT * FROM sessionsql.cache_reap(spaces => '{1}', budgets => '{NULL}')")
	if sqlState(err) != "22023" {
		t.Errorf("a budget that is null: %v", err)
	}
	pool.MustExec("SELECT * FROM sessionsql.cache_reap(spaces => '{1,2}', budgets => '{1,4000}')")
	for _, shard := range r.shards {
		budgets := get[string](t, shard.primary,
			"SELECT array_agg(b.max_bytes ORDER BY b.space)::text FROM sessionsql.cache_space AS b")
		if budgets != "{1,1000}" {
			t.Errorf("a shard has the budgets %s", budgets)
		}
	}
}

// Whatever a router cannot do, it refuses by name.
func TestARouterSaysWhatItCannotDo(t *testing.T) {
	r := newRouter(t, 2)
	store := r.Store(t, nil)
	ctx := t.Context()
	pool := open(t, r.appDSN)
	_, err := sessionsql.Open(ctx, r.appDSN, []string{shared.Replicas[0].DSN("postgres")}, quiet())
	if !errors.Is(err, sessionsql.ErrRouter) {
		t.Errorf("Open with a replica: %v", err)
	}
	near := nearOptions(time.Second)
	if _, err := sessionsql.Open(ctx, r.appDSN, nil, near); !errors.Is(err, sessionsql.ErrRouter) {
		t.Errorf("Open with a near cache: %v", err)
	}
	var log logBuffer
	near.Logger = log.logger()
	keeps := sessiontest.OpenStoreOver(t, pool, near)
	eventually(t, "the log says that no near cache is kept", func() bool {
		return strings.Contains(log.String(), "a router of shards cannot do this")
	})
	kept := mustInsert(t, keeps, "p", nil)
	for range 20 {
		mustLookup(t, keeps, kept)
	}
	if stats := keeps.Stats(); stats.NearHits > 0 {
		t.Errorf("%d lookups through a router were answered from memory", stats.NearHits)
	}
	_, err = pool.Exec("SELECT * FROM sessionsql.changes(NULL)")
	if sqlState(err) != "0A000" || !strings.Contains(err.Error(), "a router has no log of changes") {
		t.Errorf("changes: %v", err)
	}
	if _, err := store.Health(ctx); !errors.Is(err, sessionsql.ErrRouter) {
		t.Errorf("Health: %v", err)
	}
	if _, err := store.CacheHealth(ctx); !errors.Is(err, sessionsql.ErrRouter) {
		t.Errorf("CacheHealth: %v", err)
	}
	for name, store := range map[string]*sessionsql.Store{
		"Open": store, "OpenDB": sessiontest.OpenStoreOver(t, pool, nil),
	} {
		tx := pool.MustBegin()
		if _, err := store.InsertTx(ctx, tx, "p", nil); !errors.Is(err, sessionsql.ErrRouter) {
			t.Errorf("InsertTx of a Store of %s: %v", name, err)
		}
		must(t, tx.Rollback())
	}
	token := mustInsert(t, store, "p", nil)
	_, err = store.Insert(ctx, "p", &sessionsql.InsertOptions{Subject: "u", MaxSessions: 1})
	if err == nil || !strings.Contains(err.Error(), "a router cannot enforce max_sessions") {
		t.Errorf("Insert with a cap: %v", err)
	}
	_, err = store.Rotate(ctx, token, &sessionsql.RotateOptions{Subject: "u", MaxSessions: 1})
	if err == nil || !strings.Contains(err.Error(), "a router cannot enforce max_sessions") {
		t.Errorf("Rotate with a cap: %v", err)
	}
	used := newDatabase(t)
	used.fill(t, 1, "1 hour")
	_, err = used.primary.Exec(bundle.Router())
	if sqlState(err) != "55000" || !strings.Contains(err.Error(), "holds sessions") {
		t.Errorf("a database with sessions as a router: %v", err)
	}
}

func TestRolesMayThroughARouterWhatTheyMayOnAPrimary(t *testing.T) {
	r := newRouter(t, 2)
	id := get[int64](t, r.primary, "SELECT sessionsql.insert(sha256('1'), 'p', subject => 'u')")
	for role, allowed := range map[string]string{
		"sessionsql_app":     "lookup insert revoke_subject reap",
		"sessionsql_support": "list_subject revoke_subject",
		"sessionsql_reader":  "lookup",
		"sessionsql_reaper":  "reap",
		"sessionsql_monitor": "",
	} {
		pool := open(t, asUser(t, r.PrimaryDSN(), r.login(t, role)))
		for name, call := range map[string]string{
			"lookup":         fmt.Sprintf("lookup(%d, sha256('1'))", id),
			"insert":         "insert(sha256('1'), 'p')",
			"revoke_subject": "revoke_subject('nobody')",
			"list_subject":   "list_subject('u')",
			"reap":           "reap()",
		} {
			_, err := pool.Exec("SELECT * FROM sessionsql." + call)
			if may := strings.Contains(allowed, name); may && err != nil || !may && sqlState(err) != "42501" {
				t.Errorf("%s calls %s: %v", role, name, err)
			}
		}
		_, err := pool.Exec("SELECT * FROM sessionsql_router.list_subject('u')")
		if sqlState(err) != "42501" {
			t.Errorf("%s calls a function of the router's own schema: %v", role, err)
		}
	}
}

// A program that upgrades its database must not turn a router into an empty primary.
func TestAnUpgradeKeepsARouter(t *testing.T) {
	r := newRouter(t, 2)
	store := r.Store(t, nil)
	token := mustInsert(t, store, "p", nil)
	catalog := r.catalog(t)
	r.pretendOlder()
	must(t, sessionsql.Install(t.Context(), r.primary))
	wantLines(t, "a router after an upgrade", r.catalog(t), catalog)
	mustLookup(t, store, token)
	if _, err := r.primary.Exec(bundle.Uninstall()); err != nil {
		t.Error(err)
	}
	if get[bool](t, r.primary, "SELECT to_regnamespace('sessionsql_router') IS NOT NULL") {
		t.Error("the schema of the router is left")
	}
}

func TestADeadShardTakesOnlyItsOwnSessionsAway(t *testing.T) {
	cluster := sessiontest.StartCluster(t, nil)
	r := newRouter(t, 4, cluster, shared, shared, shared)
	store := r.Store(t, nil)
	ctx := t.Context()
	cache := store.Cache("c", nil)
	tokens := make([]sessionsql.Token, 128)
	for i := range tokens {
		tokens[i] = mustInsert(t, store, "p", nil)
		mustLookup(t, store, tokens[i])
		must(t, cache.Set(ctx, fmt.Sprint(i), []byte("v"), 0))
	}
	for _, shard := range r.shards {
		shard.primary.MustExec("UPDATE sessionsql.session SET expires_at = now() + interval '1 minute'")
	}
	lost := r.shards[0].countAll(t)
	shardOf := func(key string) int {
		return get[int](t, r.shards[1].primary,
			"SELECT sessionsql.shard_of(sessionsql.cache_key('c', $1::text)) & 3", key)
	}
	of := make([]int, len(tokens))
	for i := range of {
		of[i] = shardOf(fmt.Sprint(i))
	}
	must(t, cluster.Primary.Kill())

	if err := store.Flush(ctx); !errors.Is(err, sessionsql.ErrUnavailable) {
		t.Errorf("Flush: %v", err)
	}
	if stats := store.Stats(); stats.TouchesPending != int64(lost) {
		t.Errorf("%d touches are pending, %d sessions are on the dead shard", stats.TouchesPending, lost)
	}
	for _, shard := range r.shards[1:] {
		if n := shard.countWhere(t, "expires_at < now() + interval '2 minutes'"); n != 0 {
			t.Errorf("%d sessions of a live shard were not extended", n)
		}
	}
	judge := func(what string, dead bool, err error) {
		if dead && (!errors.Is(err, sessionsql.ErrUnavailable) || errors.Is(err, sessionsql.ErrNoSession) ||
			errors.Is(err, sessionsql.ErrNoEntry)) {
			t.Errorf("%s on the dead shard: %v", what, err)
		}
		if !dead && err != nil {
			t.Errorf("%s on a live shard: %v", what, err)
		}
	}
	atOnce(len(tokens), func(i int) {
		dead := idOf(t, tokens[i])%4 == 0
		_, err := store.Lookup(ctx, tokens[i])
		judge("Lookup", dead, err)
		version, err := store.Update(ctx, tokens[i], "q", 1)
		judge("Update", dead, err)
		if !dead && version != 2 {
			t.Errorf("Update: version %d", version)
		}
		_, err = store.Insert(ctx, "p", nil)
		judge("Insert", false, err)
		_, err = cache.Get(ctx, fmt.Sprint(i))
		judge("Get", of[i] == 0, err)
		judge("Set", of[i] == 0, cache.Set(ctx, fmt.Sprint(i), []byte("w"), 0))
		judge("Delete", of[i] == 0, cache.Delete(ctx, fmt.Sprint(i)))
		judge("Revoke", dead, store.Revoke(ctx, tokens[i]))
	})
	if _, err := store.RevokeSubject(ctx, "u", ""); !errors.Is(err, sessionsql.ErrUnavailable) {
		t.Errorf("RevokeSubject: %v", err)
	} else {
		t.Log(err)
	}

	must(t, cluster.Primary.Start(ctx))
	eventually(t, "the shard answers again", func() bool { return store.Flush(ctx) == nil })
	for _, token := range tokens {
		if idOf(t, token)%4 == 0 {
			if sess := mustLookup(t, store, token); sess.Version != 1 {
				t.Errorf("version %d", sess.Version)
			}
		}
	}
	if stats := store.Stats(); stats.TouchesPending > int64(lost) || stats.TouchesDropped > 0 {
		t.Errorf("%d touches pending, %d dropped", stats.TouchesPending, stats.TouchesDropped)
	}
}

// A router whose map is old reaches a shard that owns the session no more, and does not ask the new shards.
func TestARouterWithAnOldMapIsUnavailable(t *testing.T) {
	r := newRouter(t, 2)
	store := r.Store(t, nil)
	ctx := t.Context()
	cache := store.Cache("c", &sessionsql.CacheOptions{KeepKeys: true})
	tokens := make([]sessionsql.Token, 64)
	for i := range tokens {
		tokens[i] = mustInsert(t, store, "p", &sessionsql.InsertOptions{Subject: "u"})
	}
	verbs := map[string]func() error{
		"ListSubject": func() error { _, err := store.ListSubject(ctx, "u", tokens[0]); return err },
		"Len":         func() error { _, err := cache.Len(ctx); return err },
		"All": func() error {
			for _, err := range cache.All(ctx) {
				return err
			}
			return nil
		},
		"Clear":         func() error { return cache.Clear(ctx) },
		"RevokeSubject": func() error { _, err := store.RevokeSubject(ctx, "nobody", ""); return err },
	}
	for name, call := range verbs {
		if err := call(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, owned := range []struct {
		shards int
		shard  any
	}{{4, 0}, {1, 0}, {2, nil}} {
		r.shards[0].shard(t, owned.shards, owned.shard)
		for name, call := range verbs {
			if err := call(); !saysElsewhere(err) {
				t.Errorf("%s beside a shard %v of %v: %v", name, owned.shard, owned.shards, err)
			}
		}
	}
	for i, shard := range r.shards {
		shard.shard(t, 2, i)
		shard.primary.MustExec("UPDATE sessionsql.session SET expires_at = now() + interval '1 minute'")
	}
	for _, token := range tokens {
		mustLookup(t, store, token)
	}
	for i, shard := range r.shards {
		shard.shard(t, 4, i)
	}
	for name, call := range verbs {
		if err := call(); !saysElsewhere(err) {
			t.Errorf("%s on half of the shards: %v", name, err)
		}
	}
	atOnce(len(tokens), func(i int) {
		_, err := store.Lookup(ctx, tokens[i])
		if moved := idOf(t, tokens[i])%4 > 1; moved && !saysElsewhere(err) || !moved && err != nil {
			t.Errorf("id %d: %v", idOf(t, tokens[i]), err)
		}
	})
	if err := store.Flush(ctx); !errors.Is(err, sessionsql.ErrUnavailable) {
		t.Errorf("Flush: %v", err)
	}
	for i, shard := range r.shards {
		shard.shard(t, 2, i)
	}
	must(t, store.Flush(ctx))
	if stats := store.Stats(); stats.SessionsExtended != 64 || stats.TouchesDropped > 0 {
		t.Errorf("%d of 64 sessions were extended, and %d touches dropped",
			stats.SessionsExtended, stats.TouchesDropped)
	}
}
