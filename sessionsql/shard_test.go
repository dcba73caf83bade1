package sessionsql_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sessionsql/postgres/sessionsql"
)

// elsewhere is the SQLSTATE for what another primary owns.
const elsewhere = "SQ001"

func (d *database) shard(t testing.TB, shards int, shard any) {
	t.Helper()
	_, err := d.primary.ExecContext(t.Context(), "SELECT sessionsql.shard($1, $2)", shards, shard)
	if err != nil {
		t.Fatalf("shard(%d, %v): %v", shards, shard, err)
	}
}

func TestShardRefusesWhatIsNoShard(t *testing.T) {
	d := newDatabase(t)
	for _, call := range []string{"NULL, 0", "0, 0", "-2, 0", "3, 0", "512, 0", "4, 4", "4, -1", "1, 1"} {
		_, err := d.primary.Exec("SELECT sessionsql.shard(" + call + ")")
		if sqlState(err) != "22023" || !strings.Contains(err.Error(), "sessionsql.shard: shard") {
			t.Errorf("shard(%s): %v", call, err)
		}
	}
	for _, call := range []string{"256, 255", "2, 0", "4, NULL", "1, 0"} {
		d.primary.MustExec("SELECT sessionsql.shard(" + call + ")")
	}
}

// Connections hold ids in stock, and go on inserting while the shard changes.
func TestNewIDsOfAShardHaveItsLowBits(t *testing.T) {
	d := newDatabase(t)
	shards := []int{1, 4, 8, 2, 256, 1}
	var phase atomic.Int64
	type made struct {
		id          int64
		first, last int64 // the phases before and after the insert; odd ones during a change
	}
	var mu sync.Mutex
	var all []made
	ctx, stop := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	for range 4 {
		conn := d.conn(t)
		wait.Go(func() {
			for ctx.Err() == nil {
				m := made{first: phase.Load()}
				err := conn.GetContext(t.Context(), &m.id, "SELECT sessionsql.insert(sha256('1'), 'p')")
				m.last = phase.Load()
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				all = append(all, m)
				mu.Unlock()
			}
		})
	}
	inserted := func(n int) {
		eventually(t, "inserts go on", func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(all) >= n
		})
	}
	for i, n := range shards {
		inserted(200 * (i + 1))
		phase.Add(1)
		d.shard(t, n, n/2)
		phase.Add(1)
	}
	inserted(200 * (len(shards) + 2))
	stop()
	wait.Wait()

	seen := map[int64]bool{}
	checked := 0
	for _, m := range all {
		if seen[m.id] {
			t.Errorf("id %d was handed out twice", m.id)
		}
		seen[m.id] = true
		if m.first == m.last && m.first > 0 && m.first%2 == 0 {
			checked++
			if n := int64(shards[m.first/2-1]); m.id%n != n/2 {
				t.Errorf("id %d is not of shard %d of %d", m.id, n/2, n)
			}
		}
	}
	if checked < 500 {
		t.Errorf("only %d inserts were certainly of one shard", checked)
	}
	d.shard(t, 4, nil)
	_, err := d.primary.Exec("SELECT sessionsql.insert(sha256('1'), 'p')")
	if sqlState(err) != elsewhere {
		t.Errorf("an insert on a primary that owns nothing: %v", err)
	}
}

// shardVerbs holds a call of each function that takes the id of a session ($1), the key of an entry ($2), the
// text of its key in the space s ($3), a token ($4), or the key of a number ($5). Batches hold another id or
// key, which is at home.
var shardVerbs = map[string]string{
	"lookup":                   "lookup($1::bigint, sha256('1'))",
	"lookup_batch":             "lookup_batch(ARRAY[{id}, $1::bigint], ARRAY[sha256('1'), sha256('2')])",
	"lookup_near":              "lookup_near(ARRAY[{id}, $1::bigint], ARRAY[sha256('1'), sha256('2')])",
	"open_session":             "open_session($1::bigint, sha256('1'))",
	"touch_batch":              "touch_batch(ARRAY[{id}, $1::bigint])",
	"update_payload":           "update_payload($1::bigint, sha256('1'), 'p')",
	"update_payload_batch":     "update_payload_batch(ARRAY[{id}, $1::bigint], '{a,b}', '{p,q}', NULL)",
	"rotate":                   "rotate($1::bigint, sha256('1'), sha256('1'))",
	"revoke":                   "revoke($1::bigint, sha256('none'))",
	"revoke_batch":             "revoke_batch(ARRAY[{id}, $1::bigint], '{a,b}')",
	"revoke_listed":            "revoke_listed($1::bigint, sha256('1'), {id})",
	"revoke_listed listed":     "revoke_listed({id}, sha256('1'), $1::bigint)",
	"revoke_listed_of":         "revoke_listed_of('nobody', $1::bigint)",
	"find_session":             "find_session($4::text)",
	"use_session":              "use_session($4::text)",
	"save_session":             "save_session($4::text, 'p')",
	"renew_session":            "renew_session($4::text)",
	"end_session":              "end_session($4::text)",
	"list_sessions":            "list_sessions($4::text)",
	"end_listed_session":       "end_listed_session($4::text, {id})",
	"cache_get_batch":          "cache_get_batch(ARRAY[{key}, $2::uuid])",
	"cache_set_batch":          "cache_set_batch(ARRAY[{key}, $2::uuid], '{1,1}', '{v,w}', '{9,9}')",
	"cache_touch_batch":        "cache_touch_batch(ARRAY[{key}, $2::uuid], '{9,9}')",
	"cache_delete_batch":       "cache_delete_batch(ARRAY[{key}, $2::uuid])",
	"cache_delete_batch final": "cache_delete_batch(ARRAY[{key}, $2::uuid], true)",
	"cache_add":                "cache_add($2::uuid, 1, 'v', 9)",
	"cache_swap":               "cache_swap($2::uuid, sha256('v'), 'w')",
	"cache_increment_by_key":   "cache_increment_by_key($5::uuid, 1, 1, 0)",
	"cache_fetch_lease_by_key": "cache_fetch_lease_by_key($2::uuid, {key}, 1, 'me', 9)",
	"cache_fetch_lease_by_key lease": "cache_fetch_lease_by_key(" +
		"'00000000-0000-0000-0000-000000000000', $2::uuid, 1, 'me', 9)",
	"cache_get":         "cache_get('s', $3::text)",
	"cache_set":         "cache_set('s', $3::text, 'v')",
	"cache_touch":       "cache_touch('s', $3::text)",
	"cache_delete":      "cache_delete('s', $3::text)",
	"cache_increment":   "cache_increment('other', $3::text)",
	"cache_fetch_lease": "cache_fetch_lease('s', $3::text, 'me')",
	"cache_end_lease":   "cache_end_lease('s', $3::text, 'me')",
}

// unsharded are the functions with such a parameter that reach no row by it, or that only others call.
var unsharded = []string{
	"at_home", "is_home", "shard_of", "token_id", "token_hash", "token_from", "cache_key", "cache_lease_key",
	"check_entry", "end_excess", "log_entries", "sweep",
}

// Each connection has plans from before the change, of a call that was right then.
func TestEveryVerbRefusesWhatAnotherPrimaryOwns(t *testing.T) {
	for _, roles := range []bool{false, true} {
		t.Run(fmt.Sprintf("roles=%v", roles), func(t *testing.T) {
			d := newDatabase(t)
			if roles {
				installRoles(t, d.primary)
			}
			var names []string
			must(t, d.primary.Select(&names, `
				SELECT DISTINCT p.proname
				FROM pg_proc AS p
				WHERE p.pronamespace = 'sessionsql'::regnamespace
				  AND p.proargnames && '{id,ids,listed_id,key,keys,lease_key,token}'`))
			for _, name := range names {
				if shardVerbs[name] == "" && !slices.Contains(unsharded, name) {
					t.Errorf("%s takes an id, a key or a token and has no test here", name)
				}
			}

			ids := d.fill(t, 2, "1 hour")
			home, other := ids[0], ids[1]
			shard := home % 2
			key := func(n int64) string { return fmt.Sprintf("00000000-0000-0000-0000-0000000000%02x", n) }
			name := func(shard int64) string {
				return get[string](t, d.primary, `SELECT n::text FROM generate_series(1, 1000) AS n
					WHERE sessionsql.shard_of(sessionsql.cache_key('s', n::text)) & 1 = $1
					  AND sessionsql.shard_of(sessionsql.cache_key('other', n::text)) & 1 = $1
					  AND sessionsql.shard_of(
					    sessionsql.cache_lease_key(sessionsql.cache_key('s', n::text))) & 1 = $1
					LIMIT 1`, shard)
			}
			token := func(id int64) string {
				return get[string](t, d.primary, "SELECT sessionsql.token_from($1, 'a secret of 16 b')", id)
			}
			conn := d.conn(t)
			call := func(verb string, owned bool) error {
				id, n := home, shard
				if !owned {
					id, n = other, 1-shard
				}
				statement := "SELECT sessionsql." + strings.NewReplacer(
					"{id}", fmt.Sprintf("%d::bigint", home), "{key}", "'"+key(16+shard)+"'::uuid",
				).Replace(shardVerbs[verb])
				var argument any
				for i, value := range []any{id, key(n), name(n), token(id), key(32 + n)} {
					if at := fmt.Sprintf("$%d::", i+1); strings.Contains(statement, at) {
						statement = strings.Replace(statement, at, "$1::", 1)
						argument = value
					}
				}
				_, err := conn.ExecContext(t.Context(), statement, argument)
				return err
			}
			for verb := range shardVerbs {
				for range 7 { // by then the plan is kept
					if err := call(verb, false); err != nil {
						t.Errorf("%s, before: %v", verb, err)
					}
				}
			}
			d.shard(t, 2, shard)
			before := d.countAll(t)
			const allEntries = "SELECT array_agg(e ORDER BY key)::text FROM sessionsql.cache_entry AS e"
			entries := get[string](t, d.primary, allEntries)
			for verb := range shardVerbs {
				if err := call(verb, false); sqlState(err) != elsewhere {
					t.Errorf("%s of another primary: %v", verb, err)
				}
			}
			if after := get[string](t, d.primary, allEntries); after != entries {
				t.Errorf("entries changed from %s to %s", entries, after)
			}
			if after := d.countAll(t); after != before {
				t.Errorf("%d sessions of %d are left", after, before)
			}
			for verb := range shardVerbs {
				if verb == "cache_fetch_lease_by_key lease" && shard == 1 {
					continue // its entry is of shard 0
				}
				if err := call(verb, true); err != nil {
					t.Errorf("%s at home: %v", verb, err)
				}
			}
			d.shard(t, 2, nil)
			for verb := range shardVerbs {
				if err := call(verb, true); sqlState(err) != elsewhere {
					t.Errorf("%s of a primary that owns nothing: %v", verb, err)
				}
			}
			d.shard(t, 1, 0)
			if err := call("lookup", false); err != nil {
				t.Errorf("a primary that owns everything again: %v", err)
			}
		})
	}
}

// A write that began before the change ends before it, and one that waited for it is refused.
func TestNoWriteUnderTheOldOwnershipLandsAfterTheNew(t *testing.T) {
	d := newDatabase(t)
	d.primary.MustExec("ALTER FUNCTION sessionsql.shard SET lock_timeout = '1min'")
	ids := d.fill(t, 2, "1 hour")
	moved := ids[1]
	writer, late := d.conn(t), d.conn(t)
	const update = "SELECT sessionsql.update_payload($1::bigint, sha256('2'), $2)"
	for range 7 {
		execute(t, late, update, moved, "before")
	}
	execute(t, writer, "BEGIN")
	execute(t, writer, update, moved, "in time")
	waiting := func(n int) {
		eventually(t, fmt.Sprint(n, " wait for a lock"), func() bool {
			return get[int](t, d.primary, `SELECT count(*) FROM pg_stat_activity
				WHERE datname = current_database() AND wait_event_type = 'Lock'`) == n
		})
	}
	flipped, refused := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := d.primary.Exec("SELECT sessionsql.shard(2, $1)", ids[0]%2)
		flipped <- err
	}()
	waiting(1)
	go func() {
		_, err := late.ExecContext(t.Context(), update, moved, "late")
		refused <- err
	}()
	waiting(2)
	execute(t, writer, "COMMIT")
	must(t, <-flipped)
	if err := <-refused; sqlState(err) != elsewhere {
		t.Errorf("the late write: %v", err)
	}
	if payload := get[string](t, d.primary, "SELECT payload FROM sessionsql.session WHERE id = $1",
		moved); payload != "in time" {
		t.Errorf("the payload is %q", payload)
	}
}

func TestStoreSaysUnavailableOfWhatAnotherPrimaryOwns(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nil)
	cache := store.Cache("c", nil)
	ctx := t.Context()
	own := &sessionsql.InsertOptions{Subject: "u"}
	home := mustInsert(t, store, "p", own)
	other := mustInsert(t, store, "p", own)
	shard := idOf(t, home) % 2
	if idOf(t, other)%2 == shard {
		t.Fatal("two ids that follow one another are of one shard")
	}
	keys := [2]string{}
	for n := range 100 {
		key := fmt.Sprint(n)
		keys[get[int](t, d.primary, "SELECT sessionsql.shard_of(sessionsql.cache_key('c', $1::text)) & 1",
			key)] = key
	}
	homeKey, otherKey := keys[shard], keys[1-shard]
	for _, key := range keys {
		must(t, cache.Set(ctx, key, []byte("v"), 0))
	}
	d.primary.MustExec("UPDATE sessionsql.session SET expires_at = now() + interval '1 minute'")
	d.CatchUp(t)
	for _, token := range []sessionsql.Token{home, other} {
		mustLookup(t, store, token)
	}
	d.shard(t, 2, shard)
	d.CatchUp(t)

	must(t, store.Flush(ctx))
	if stats := store.Stats(); stats.SessionsExtended != 1 || stats.TouchesDropped != 1 ||
		stats.TouchesPending != 0 {
		t.Errorf("after a flush: %d extended, %d dropped, %d pending",
			stats.SessionsExtended, stats.TouchesDropped, stats.TouchesPending)
	}
	eventually(t, "the replica is read from again", func() bool {
		before := store.Stats().ReplicaReads
		_, err := store.Peek(ctx, home)
		must(t, err)
		return store.Stats().ReplicaReads > before
	})
	if _, err := store.Peek(ctx, other); !saysElsewhere(err) {
		t.Errorf("Peek of another primary, which a replica is asked first: %v", err)
	}
	if stats := store.Stats(); !stats.Replicas[0].Usable {
		t.Errorf("the replica was left out: %v", stats.Replicas[0].Err)
	}
	calls := map[string]func(token sessionsql.Token, key string) error{
		"Lookup": func(token sessionsql.Token, _ string) error {
			_, err := store.Lookup(ctx, token)
			return err
		},
		"Update": func(token sessionsql.Token, _ string) error {
			_, err := store.Update(ctx, token, "q", sessionsql.AnyVersion)
			return err
		},
		"Get": func(_ sessionsql.Token, key string) error { _, err := cache.Get(ctx, key); return err },
		"Set": func(_ sessionsql.Token, key string) error { return cache.Set(ctx, key, []byte("v"), 0) },
		"Add": func(_ sessionsql.Token, key string) error {
			_, err := cache.Add(ctx, key, []byte("v"), 0)
			return err
		},
	}
	atOnce(64, func(i int) {
		for name, call := range calls {
			token, key := home, homeKey
			if i%8 == 0 {
				token, key = other, otherKey
			}
			for range 20 {
				err := call(token, key)
				if i%8 != 0 && err != nil {
					t.Errorf("%s at home: %v", name, err)
				}
				if i%8 == 0 && !saysElsewhere(err) {
					t.Errorf("%s of another primary: %v", name, err)
				}
			}
		}
	})
	for name, call := range map[string]func() error{
		"Rotate": func() error { _, err := store.Rotate(ctx, other, nil); return err },
		"Revoke": func() error { return store.Revoke(ctx, other) },
		"RevokeListed": func() error {
			return store.RevokeListed(ctx, home, idOf(t, other))
		},
		"RevokeSubject": func() error { _, err := store.RevokeSubject(ctx, "u", other); return err },
		"Delete":        func() error { return cache.Delete(ctx, otherKey) },
		"Increment":     func() error { _, err := cache.Increment(ctx, otherKey, 1, 0); return err },
	} {
		err := call()
		if !saysElsewhere(err) {
			t.Errorf("%s of another primary: %v", name, err)
		}
		t.Log(err)
	}
	if list := mustList(t, store, "u", home); len(list) != 1 || list[0].ID != idOf(t, home) {
		t.Errorf("the list of the subject is %v", list)
	}
	if n, err := cache.Len(ctx); n != 1 || err != nil {
		t.Errorf("the cache has %d entries, %v", n, err)
	}
	if n, err := store.RevokeSubject(ctx, "u", ""); n != 1 || err != nil {
		t.Errorf("%d sessions of the subject were alive here, %v", n, err)
	}
}

func saysElsewhere(err error) bool {
	return errors.Is(err, sessionsql.ErrUnavailable) && sqlState(err) == elsewhere &&
		!errors.Is(err, sessionsql.ErrNoSession)
}

// Without shards, the planner leaves nothing of the question who owns a row.
func TestOwnershipCostsAPlanOfOnePrimaryNothing(t *testing.T) {
	d := newDatabase(t)
	plan := func(call string) string {
		var lines []string
		must(t, d.primary.Select(&lines, "EXPLAIN (VERBOSE, COSTS off) SELECT * FROM sessionsql."+call))
		return strings.Join(lines, "\n")
	}
	calls := []string{
		"lookup(2, sha256('1'))",
		"lookup_batch('{1,2}', ARRAY[sha256('1'), sha256('2')])",
		"lookup_near('{1,2}', ARRAY[sha256('1'), sha256('2')])",
		"cache_get_batch('{00000000-0000-0000-0000-000000000001}')",
		"list_subject('u')",
	}
	for _, shards := range []int{1, 2, 1} {
		d.shard(t, shards, 0)
		for _, call := range calls {
			text := plan(call)
			folded := strings.HasPrefix(call, "lookup(") // because the id is a constant
			if asks := strings.Contains(text, " & "); asks != (shards == 2 && !folded) {
				t.Errorf("%d shards: %s", shards, text)
			}
			if strings.Contains(text, "home") || strings.Contains(text, "Seq Scan") {
				t.Errorf("%d shards: %s", shards, text)
			}
		}
	}
}

func TestAnUpgradeKeepsTheShard(t *testing.T) {
	d := newDatabase(t)
	d.shard(t, 4, 3)
	d.pretendOlder()
	must(t, sessionsql.Install(t.Context(), d.primary))
	installRoles(t, d.primary)
	if id := get[int64](t, d.primary, "SELECT sessionsql.insert(sha256('1'), 'p')"); id%4 != 3 {
		t.Errorf("a new session has id %d", id)
	}
	if _, err := d.primary.Exec("SELECT sessionsql.revoke(4, sha256('1'))"); sqlState(err) != elsewhere {
		t.Errorf("a session of another shard: %v", err)
	}
}

// Nobody tells this primary's programs what the new owner changes, so they must keep nothing of it in memory.
func TestAChangeOfTheShardIsAChangeOfEverything(t *testing.T) {
	d := newDatabase(t)
	f := startFeed(t, d.primary)
	for _, owned := range []any{1, nil, 0} {
		d.shard(t, 2, owned)
		if !f.poll(t, d.primary) || !f.Everything {
			t.Errorf("shard %v: programs do not forget what they keep", owned)
		}
		f.wants(t, d.primary, "afterwards")
	}
}

func TestAPrimaryKnowsTheNumberOfShards(t *testing.T) {
	d := newDatabase(t)
	const shards = "SELECT COALESCE(sessionsql.shards(), -1)"
	if n := get[int](t, d.primary, shards); n != 1 {
		t.Errorf("a new primary is one of %d", n)
	}
	for _, n := range []int{256, 2, 64, 1} {
		d.shard(t, n, n/2)
		if known := get[int](t, d.primary, shards); known != n {
			t.Errorf("one of %d says %d", n, known)
		}
		d.shard(t, n, nil)
		if known := get[int](t, d.primary, shards); known != -1 {
			t.Errorf("a primary that owns nothing is one of %d", known)
		}
	}
}
