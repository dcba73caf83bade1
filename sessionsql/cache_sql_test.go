package sessionsql_test

import (
	"bytes"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jmoiron/sqlx"

	"github.com/sessionsql/postgres/sessionsql"
)

// cacheSpace returns the number of a space, as sessionsql.cache_space_id does.
func cacheSpace(name string) int32 {
	digest := sha256.Sum256([]byte(name))
	return int32(binary.BigEndian.Uint32(digest[:]))
}

// An entryKey is the uuid of an entry.
type entryKey [16]byte

func (k entryKey) String() string {
	digits := hex.EncodeToString(k[:])
	return digits[:8] + "-" + digits[8:12] + "-" + digits[12:16] + "-" + digits[16:20] + "-" + digits[20:]
}

// cacheKey returns the key of an entry, as sessionsql.cache_key does.
func cacheKey(space, key string) entryKey {
	inner := sha256.Sum256([]byte(key))
	text := binary.BigEndian.AppendUint32(nil, uint32(cacheSpace(space)))
	digest := sha256.Sum256(append(text, inner[:]...))
	if strings.HasPrefix(space, "near:") {
		digest[0], digest[1] = 0xff, 0xff
	}
	return entryKey(digest[:16])
}

// emptyCache removes every entry and budget, and sets the hand back.
func (d *database) emptyCache() {
	d.primary.MustExec(`TRUNCATE sessionsql.cache_entry, sessionsql.cache_space;
		UPDATE sessionsql.cache_reaper SET next_page = 0`)
}

func TestKeysOfEntriesAreThoseOfTheDocuments(t *testing.T) {
	d := newDatabase(t)
	for _, pair := range [][2]string{{"s", "k"}, {"thumbnails", "日本語 🙂"}, {"s", "a/../b"}, {"near:s", "k"}} {
		got := get[string](t, d.primary, "SELECT sessionsql.cache_key($1::text, $2::text)::text",
			pair[0], pair[1])
		if want := cacheKey(pair[0], pair[1]).String(); got != want {
			t.Errorf("%q: %s, want %s", pair, got, want)
		}
	}
}

// cacheValue returns the value of a live entry in space s, or "none".
func (d *database) cacheValue(t testing.TB, key string) string {
	t.Helper()
	return get[string](t, d.primary,
		"SELECT COALESCE(convert_from(sessionsql.cache_get('s', $1), 'UTF8'), 'none')", key)
}

// left returns the seconds that an entry in space s has left, or 0.
func (d *database) left(t testing.TB, key string) float64 {
	t.Helper()
	return get[float64](t, d.primary, `SELECT COALESCE(max(g.expires_in), 0)
		FROM sessionsql.cache_get_batch(ARRAY[sessionsql.cache_key('s', $1)]) AS g`, key)
}

// expire moves the expiry of an entry in space s.
func (d *database) expire(key, left string) {
	d.primary.MustExec(`UPDATE sessionsql.cache_entry AS e SET expires_at = clock_timestamp() + $2::interval
		WHERE e.key = sessionsql.cache_key('s', $1)`, key, left)
}

func TestAnEntryKeepsAllBytes(t *testing.T) {
	random := seeded(t)
	d := newDatabase(t)
	large := make([]byte, 1<<20)
	for i := range large {
		large[i] = byte(random.Uint32())
	}
	for _, value := range [][]byte{large, {}, {0}, {0xff, 0xfe, 0}, []byte(`NULL`), []byte(`\x00"{,}`)} {
		for _, key := range [][]byte{large, {0}, {0xc3, 0x28}, []byte("NULL")} {
			d.primary.MustExec(`
				SELECT sessionsql.cache_set_batch(ARRAY[sessionsql.cache_key('s', $1::bytea)], '{1}',
				  ARRAY[$2::bytea], '{60}', ARRAY[$1::bytea])`, key, value)
			type row struct {
				Value []byte
				Plain []byte
			}
			got := get[row](t, d.primary, `SELECT g.value, e.plain_key AS plain
				FROM sessionsql.cache_get_batch(ARRAY[sessionsql.cache_key('s', $1::bytea)]) AS g
				JOIN sessionsql.cache_entry AS e ON e.key = g.key`, key)
			if !bytes.Equal(got.Value, value) || got.Value == nil || !bytes.Equal(got.Plain, key) {
				t.Errorf("a value of %d bytes under a key of %d came back as %d under %d",
					len(value), len(key), len(got.Value), len(got.Plain))
			}
		}
	}
}

func TestBadEntriesAreRefusedByNameAndNotShown(t *testing.T) {
	d := newDatabase(t)
	d.primary.MustExec("SELECT sessionsql.cache_set('s', 'text', 'canary')")
	d.primary.MustExec("SELECT sessionsql.cache_set('s', 'large', '9223372036854775807')")
	d.primary.MustExec("SELECT sessionsql.cache_set('s', 'digits', '99999999999999999999')")
	const key, keys = "'00000000-0000-0000-0000-000000000001'", "'{00000000-0000-0000-0000-000000000001}'"
	for call, state := range map[string]string{
		"cache_get('', 'canary')":                                    "22023",
		"cache_get(repeat('canary', 11), 'k')":                       "22023",
		"cache_get(NULL, 'k')":                                       "22023",
		"cache_get('s', '')":                                         "22023",
		"cache_get('s', NULL)":                                       "22023",
		"cache_set('s', '', 'canary')":                               "22023",
		"cache_set('s', 'k', NULL)":                                  "22023",
		"cache_set('s', 'k', 'canary', '101 years')":                 "22023",
		"cache_set('s', 'k', 'canary', NULL, '-1 second')":           "22023",
		"cache_set_batch(NULL, NULL, NULL, NULL)":                    "22023",
		"cache_set_batch('{NULL}', '{1}', '{canary}', '{1}')":        "22023",
		"cache_set_batch(" + keys + ", '{1}', '{canary}', '{}')":     "22023",
		"cache_set_batch(" + keys + ", '{1}', '{canary}', '{NaN}')":  "22023",
		"cache_set_batch(" + keys + ", '{NULL}', '{canary}', '{1}')": "22023",
		"cache_set_batch(" + keys + ", '{1}', '{NULL}', '{1}')":      "22023",
		"cache_touch_batch(" + keys + ", '{}')":                      "22023",
		"cache_touch_batch(" + keys + ", '{Infinity}')":              "22023",
		"cache_add(" + key + ", NULL, 'canary', 1)":                  "22023",
		"cache_add(" + key + ", 1, 'canary', '-Infinity')":           "22023",
		"cache_swap(" + key + ", 'canary', 'canary')":                "22023",
		"cache_swap(" + key + ", sha256(''), 'canary', 'NaN')":       "22023",
		"cache_increment_by_key(NULL, 1, 1, 1)":                      "22023",
		"cache_increment('s', 'text')":                               "22P02",
		"cache_increment('s', 'digits')":                             "22P02",
		"cache_increment('s', 'large')":                              "22003",
		"cache_fetch_lease('s', 'k', 'canary', '0')":                 "22023",
		"cache_fetch_lease('s', 'k', 'canary', NULL)":                "22023",
		"cache_fetch_lease('s', 'k', NULL)":                          "22023",
		"cache_list(1, NULL, 0)":                                     "22023",
		"cache_reap(0)":                                              "22023",
		"cache_reap(1, NULL)":                                        "22023",
		"cache_reap(spaces => '{1}')":                                "22023",
		"cache_reap(spaces => '{1,2}', budgets => '{1}')":            "22023",
		"cache_reap(spaces => '{1}', budgets => '{0}')":              "22023",
		"cache_reap(spaces => '{1}', budgets => '{NULL}')":           "22023",
	} {
		_, err := d.primary.Exec("SELECT sessionsql." + call)
		if sqlState(err) != state || !strings.Contains(err.Error(), "sessionsql.cache_") {
			t.Errorf("%s: %v, want %s", call, err, state)
		}
		var server *pgconn.PgError
		if errors.As(err, &server) &&
			strings.Contains(server.Message+server.Detail+server.Hint+server.Where, "canary") {
			t.Errorf("%s: the error shows a value", call)
		}
	}
}

func TestTheExpiryOfAnEntryIsExact(t *testing.T) {
	d := newDatabase(t)
	set := func(ttl string) {
		t.Helper()
		if !get[bool](t, d.primary, "SELECT sessionsql.cache_set('s', 'k', 'v', $1::interval)", ttl) {
			t.Fatalf("set for %s was refused", ttl)
		}
	}
	for _, seconds := range []float64{3600, 0.5 * 3600, 7200} { // a set shortens too
		set(fmt.Sprint(seconds))
		if left := d.left(t, "k"); left > seconds || left < seconds-60 {
			t.Errorf("%.0f seconds became %.1f", seconds, left)
		}
	}
	d.primary.MustExec("SELECT sessionsql.cache_set('s', 'k', 'v')")
	if left := d.left(t, "k"); !math.IsInf(left, 1) {
		t.Errorf("no expiry became %.1f seconds", left)
	}
	for _, over := range []string{"0", "-1 second", "-1000 years"} {
		set("1 hour")
		set(over)
		if got := d.cacheValue(t, "k"); got != "none" {
			t.Errorf("a set for %s left %q", over, got)
		}
	}

	// From its expiry on, an entry is dead for every call, and a new one may take its place.
	for name, revive := range map[string]string{
		"add":       "SELECT sessionsql.cache_add(sessionsql.cache_key('s', 'k'), 1, '8', 60)",
		"increment": "SELECT sessionsql.cache_increment('s', 'k', 8, '1 minute') = 8",
		"set":       "SELECT sessionsql.cache_set('s', 'k', '8', '1 minute')",
	} {
		d.primary.MustExec("SELECT sessionsql.cache_set('s', 'k', '7', '1 hour')")
		d.expire("k", "-1 microsecond")
		for dead, want := range map[string]string{
			"SELECT COALESCE(sessionsql.cache_get('s', 'k')::text, 'null')":                        "null",
			"SELECT sessionsql.cache_touch('s', 'k', '1 hour')::text":                              "false",
			"SELECT sessionsql.cache_swap(sessionsql.cache_key('s', 'k'), sha256('7'), '9')::text": "-1",
			"SELECT sessionsql.cache_len(sessionsql.cache_space_id('s'))::text":                    "0",
		} {
			if got := get[string](t, d.primary, dead); got != want {
				t.Errorf("%s of a dead entry: %s, want %s", dead, got, want)
			}
		}
		revived, left := get[bool](t, d.primary, revive), d.left(t, "k")
		if got := d.cacheValue(t, "k"); !revived || got != "8" || left > 60 || left < 1 {
			t.Errorf("%s after the expiry: %v, %q for %.1f seconds", name, revived, got, left)
		}
	}
}

func TestTouchExtendsAnEntryByARuleOfSessions(t *testing.T) {
	d := newDatabase(t)
	d.primary.MustExec("SELECT sessionsql.cache_set('s', 'k', 'v', '1 hour')")
	touch := func(ttl any) bool {
		t.Helper()
		return get[bool](t, d.primary, "SELECT sessionsql.cache_touch('s', 'k', $1::interval)", ttl)
	}
	for _, each := range []struct {
		left  string
		ttl   any
		moved bool
		want  float64
	}{
		{"1 hour", "30 minutes", false, 3600}, // more than the TTL is left
		{"29 minutes", "30 minutes", true, 2400},
		{"1 second", "30 minutes", true, 2400},
		{"1 hour", "-1 hour", false, 3600}, // a touch never shortens
		{"1 hour", "0", false, 3600},
		{"1 hour", nil, true, math.Inf(1)},
	} {
		d.expire("k", each.left)
		moved, left := touch(each.ttl), d.left(t, "k")
		if moved != each.moved || left > each.want || left < each.want-60 {
			t.Errorf("with %s left, a touch for %v: %v, %.1f seconds left, want %v and %.0f",
				each.left, each.ttl, moved, left, each.moved, each.want)
		}
	}
	if touch(nil) || touch("1 hour") {
		t.Error("a touch moved an entry that never expires")
	}
	d.primary.MustExec("SELECT sessionsql.cache_delete('s', 'k', true)")
	if touch(nil) || touch("10 hours") || d.cacheValue(t, "k") != "none" {
		t.Error("a touch moved a tombstone")
	}
}

// hasWritten asks whether a transaction has written or locked anything.
const hasWritten = "SELECT pg_current_xact_id_if_assigned() IS NOT NULL"

// TestAnUnchangedEntryIsNotWritten sees each write by the transaction's number, which a lock takes too.
func TestAnUnchangedEntryIsNotWritten(t *testing.T) {
	d := newDatabase(t)
	const set = "SELECT sessionsql.cache_set('s', 'k', $1, $2::interval, $3::interval, $4)"
	for _, each := range []struct {
		left, value, ttl string
		slack            any
		keep, writes     bool
	}{
		{"1 hour", "v", "1 hour", "1 minute", false, false},
		{"59 minutes 5 seconds", "v", "1 hour", "1 minute", false, false},
		{"58 minutes 50 seconds", "v", "1 hour", "1 minute", false, true}, // more slack than given
		{"1 hour 10 seconds", "v", "1 hour", "1 minute", false, true},     // a set shortens
		{"1 hour", "v", "1 hour", nil, false, true},
		{"1 hour", "v", "1 hour", "0", false, true},
		{"1 hour", "w", "1 hour", "1 minute", false, true},
		{"1 hour", "v", "1 hour", "1 minute", true, true},        // the plain key is new
		{"5 minutes", "v", "10 minutes", "1 hour", false, true},  // a third of the TTL counts at most
		{"8 minutes", "v", "10 minutes", "1 hour", false, false}, // and that third is slack
		{"-1 second", "v", "1 second", "1 minute", false, true},  // a dead entry
		{"infinity", "v", "1 hour", "1 minute", false, true},     // an expiry where there was none
	} {
		d.emptyCache()
		d.primary.MustExec("SELECT sessionsql.cache_set('s', 'k', 'v')")
		if each.left == "infinity" {
			each.left = "1000 years"
		}
		d.expire("k", each.left)
		tx := d.primary.MustBegin()
		if !get[bool](t, tx, set, []byte(each.value), each.ttl, each.slack, each.keep) {
			t.Errorf("%+v: refused", each)
		}
		if wrote := get[bool](t, tx, hasWritten); wrote != each.writes {
			t.Errorf("%+v: wrote: %v", each, wrote)
		}
		must(t, tx.Commit())
	}
	d.primary.MustExec("SELECT sessionsql.cache_set('s', 'k', 'v')")
	tx := d.primary.MustBegin()
	tx.MustExec("SELECT sessionsql.cache_set('s', 'k', 'v', NULL, '1 minute')")
	if get[bool](t, tx, hasWritten) {
		t.Error("an unchanged entry without expiry was written")
	}
	must(t, tx.Rollback())
}

func TestLosersOfAnAddOrALeaseWriteNothing(t *testing.T) {
	d := newDatabase(t)
	d.primary.MustExec("SELECT sessionsql.cache_fetch_lease('s', 'k', 'winner')")
	d.primary.MustExec("SELECT sessionsql.cache_set('s', 'fresh', 'v', '1 hour')")
	for _, loser := range []string{
		"SELECT l.leased FROM sessionsql.cache_fetch_lease('s', 'k', 'loser') AS l",
		`SELECT l.leased
		 FROM sessionsql.cache_fetch_lease('s', 'fresh', 'loser', '1 minute', '59 minutes') AS l`,
		"SELECT sessionsql.cache_add(sessionsql.cache_key('s', 'fresh'), 1, 'loser', 60)",
	} {
		tx := d.primary.MustBegin()
		if get[bool](t, tx, loser) || get[bool](t, tx, hasWritten) {
			t.Errorf("%s: won or wrote", loser)
		}
		must(t, tx.Rollback())
	}
}

func TestKeepaliveAndOverwritesOfEntriesAreHOT(t *testing.T) {
	d := newDatabase(t)
	d.primary.MustExec("ALTER TABLE sessionsql.cache_entry SET (autovacuum_enabled = off)")
	d.primary.MustExec(`INSERT INTO sessionsql.cache_entry (key, expires_at, space, value)
		SELECT gen_random_uuid(), now() + interval '1 minute', 1, repeat('x', 200)::bytea
		FROM generate_series(1, 5000)`)
	conn := d.conn(t)
	type count struct{ Updates, HOT int64 }
	counted := func() (c count) {
		execute(t, conn, "SELECT pg_stat_force_next_flush()")
		must(t, conn.GetContext(t.Context(), &c, `SELECT n_tup_upd AS updates, n_tup_hot_upd AS hot
			FROM pg_stat_user_tables WHERE schemaname = 'sessionsql' AND relname = 'cache_entry'`))
		return c
	}
	const batch = `SELECT array_agg(e.key), count(*)::integer FROM sessionsql.cache_entry AS e
		WHERE abs(hashtext(e.key::text || $1)) % 10 = 0`
	// The touches are first, because a touch that shortens an expiry writes nothing.
	for _, each := range [][2]string{
		{"touch", "SELECT sessionsql.cache_touch_batch(k.keys, array_fill($2::float8, ARRAY[k.n]))"},
		{"overwrite", `SELECT count(*) FROM sessionsql.cache_set_batch(k.keys, array_fill(1, ARRAY[k.n]),
			array_fill(repeat('y', 200)::bytea, ARRAY[k.n]), array_fill($2::float8, ARRAY[k.n]))`},
	} {
		name, statement := each[0], each[1]
		before := counted()
		for round := range 60 {
			execute(t, conn, "SELECT ("+statement+") FROM ("+batch+") AS k (keys, n)",
				fmt.Sprint(name, round), 3600*(round+2)*(round+2))
		}
		after := counted()
		updates, hot := after.Updates-before.Updates, after.HOT-before.HOT
		if updates < 20_000 || float64(hot) < 0.98*float64(updates) {
			t.Errorf("%s: %d of %d updates were HOT", name, hot, updates)
		}
		t.Logf("%s: %d of %d updates were HOT", name, hot, updates)
	}
}

// TestUpsertsKeepTheOrderOfKeys pins the order by which no two batches wait for each other. A trigger
// sees the order of the inserts, under each kind of plan.
func TestUpsertsKeepTheOrderOfKeys(t *testing.T) {
	random := seeded(t)
	d := newDatabase(t)
	d.primary.MustExec(`
		CREATE SEQUENCE public.step;
		CREATE TABLE public.seen (step bigint DEFAULT nextval('public.step'), key uuid);
		CREATE FUNCTION public.see() RETURNS trigger LANGUAGE plpgsql
		  AS 'BEGIN INSERT INTO public.seen (key) VALUES (NEW.key); RETURN NEW; END';
		CREATE TRIGGER see BEFORE INSERT ON sessionsql.cache_entry
		  FOR EACH ROW EXECUTE FUNCTION public.see()`)
	const set = `SELECT count(*) FROM cardinality($1::uuid[]) AS n
		CROSS JOIN LATERAL sessionsql.cache_set_batch($1::uuid[], array_fill(1, ARRAY[n]),
		  array_fill($2::text::bytea, ARRAY[n]), array_fill(60::float8, ARRAY[n]), NULL,
		  array_fill(9::float8, ARRAY[n]))`
	for _, settings := range append(lostPlans, "enable_sort", "enable_sort,enable_material,enable_hashagg") {
		conn := d.conn(t)
		execute(t, conn, "SET jit = off") // because a plan without the usual sort would be compiled
		for setting := range strings.SplitSeq(settings, ",") {
			if setting != "" {
				execute(t, conn, "SET "+setting+" = off")
			}
		}
		for _, n := range []int{2, 64, 1000} {
			for _, state := range []string{"TRUNCATE", "ANALYZE", "TABLE"} {
				execute(t, conn, state+" sessionsql.cache_entry")
				execute(t, conn, "TRUNCATE public.seen")
				keys := make([]string, n)
				for i := range keys {
					keys[i] = cacheKey("s", fmt.Sprint(random.IntN(2*n))).String()
				}
				execute(t, conn, set, "{"+strings.Join(keys, ",")+"}", fmt.Sprint(random.Uint32()))
				var rows []string
				const seen = "SELECT s.key::text FROM public.seen AS s ORDER BY s.step"
				must(t, conn.SelectContext(t.Context(), &rows, seen))
				if !slices.IsSorted(rows) || len(rows) == 0 {
					t.Errorf("without %q, %d keys, after %s: the order of %d inserts is not that of keys",
						settings, n, state, len(rows))
				}
			}
		}
	}
}

func TestOfTwoEntriesWithOneKeyTheLastWins(t *testing.T) {
	d := newDatabase(t)
	d.primary.MustExec(`
		SELECT sessionsql.cache_set_batch(
		  ARRAY[k, k, k], '{1,1,1}', '{first,second,last}', '{60,60,60}', NULL, '{NULL,9,9}'
		) FROM sessionsql.cache_key('s', 'k') AS k`)
	if got := d.cacheValue(t, "k"); got != "last" {
		t.Errorf("got %q", got)
	}
}

func TestEntriesKeepToTheCallersTransaction(t *testing.T) {
	d := newDatabase(t)
	tx := d.primary.MustBegin()
	tx.MustExec("SELECT sessionsql.cache_set('s', 'k', 'v'), sessionsql.cache_increment('s', 'n')")
	if got := get[string](t, tx, "SELECT convert_from(sessionsql.cache_get('s', 'k'), 'UTF8')"); got != "v" {
		t.Errorf("the transaction does not see its own set: %q", got)
	}
	must(t, tx.Rollback())
	if got := d.cacheValue(t, "k") + d.cacheValue(t, "n"); got != "nonenone" {
		t.Errorf("a rollback kept %q", got)
	}

	// A snapshot does not move, and a write over a newer row is an error that asks for a retry.
	d.primary.MustExec("SELECT sessionsql.cache_set('s', 'k', 'old'), sessionsql.cache_set('s', 'n', '1')")
	for _, write := range []string{
		"SELECT sessionsql.cache_set('s', 'k', 'mine')",
		"SELECT sessionsql.cache_increment('s', 'k')",
		"SELECT sessionsql.cache_delete('s', 'k', true)",
		"SELECT sessionsql.cache_swap(sessionsql.cache_key('s', 'k'), sha256('old'), 'mine')",
	} {
		tx, err := d.primary.BeginTxx(t.Context(), &sql.TxOptions{Isolation: sql.LevelRepeatableRead})
		must(t, err)
		before := get[[]byte](t, tx, "SELECT sessionsql.cache_get('s', 'k')")
		d.primary.MustExec("SELECT sessionsql.cache_set('s', 'k', 'newer')")
		if after := get[[]byte](t, tx, "SELECT sessionsql.cache_get('s', 'k')"); !bytes.Equal(before, after) {
			t.Errorf("%q became %q in one snapshot", before, after)
		}
		if _, err := tx.Exec(write); sqlState(err) != "40001" {
			t.Errorf("%s: %v", write, err)
		}
		must(t, tx.Rollback())
	}

	tx, err := d.primary.BeginTxx(t.Context(), &sql.TxOptions{ReadOnly: true})
	must(t, err)
	get[[]byte](t, tx, "SELECT sessionsql.cache_get('s', 'k')")
	get[int64](t, tx, "SELECT sessionsql.cache_len(sessionsql.cache_space_id('s'))")
	if _, err := tx.Exec("SELECT sessionsql.cache_set('s', 'k', 'v')"); sqlState(err) != "25006" {
		t.Errorf("a set in a read-only transaction: %v", err)
	}
	must(t, tx.Rollback())
}

func TestAReplicaReadsEntries(t *testing.T) {
	d := newDatabase(t)
	d.primary.MustExec("SELECT sessionsql.cache_set('s', 'k', 'v', '1 hour', keep_key => true)")
	d.primary.MustExec(`SELECT sessionsql.cache_set('s', 'gone', 'v');
		SELECT sessionsql.cache_delete('s', 'gone', true)`)
	d.CatchUp(t)
	for read, want := range map[string]string{
		"convert_from(sessionsql.cache_get('s', 'k'), 'UTF8')":       "v",
		"COALESCE(sessionsql.cache_get('s', 'gone')::text, 'none')":  "none",
		"sessionsql.cache_len(sessionsql.cache_space_id('s'))::text": "1",
		`(SELECT convert_from(l.plain_key, 'UTF8')
		  FROM sessionsql.cache_list(sessionsql.cache_space_id('s'), NULL, 9) AS l)`: "k",
		`(SELECT (g.expires_in BETWEEN 3000 AND 3600)::text
		  FROM sessionsql.cache_get_batch(ARRAY[sessionsql.cache_key('s', 'k')]) AS g)`: "true",
	} {
		if got := get[string](t, d.replica, "SELECT "+read); got != want {
			t.Errorf("%s: %s, want %s", read, got, want)
		}
	}
	for _, write := range []string{
		"cache_set('s', 'k', 'w')", "cache_delete('s', 'k')", "cache_increment('s', 'n')", "cache_reap()",
		"cache_touch('s', 'k', '2 hours')", "cache_fetch_lease('s', 'x', 'me')",
	} {
		if _, err := d.replica.Exec("SELECT sessionsql." + write); sqlState(err) != "25006" {
			t.Errorf("%s on a replica: %v", write, err)
		}
	}
}

// cacheTour makes every call that a Store makes for caches.
func cacheTour(t *testing.T, pool *sqlx.DB) {
	t.Helper()
	for _, each := range [][2]string{
		{"cache_set('s', 'k', '41', '1 hour', '1 minute', true)", "true"},
		{"cache_get('s', 'k') = '41'", "true"},
		{"cache_increment('s', 'k')", "42"},
		{"cache_touch('s', 'k', '2 hours')", "true"},
		{"cache_swap(sessionsql.cache_key('s', 'k'), sha256('42'), '43', 60)", "1"},
		{"cache_add(sessionsql.cache_key('s', 'k'), 1, 'x', 60)", "false"},
		{"cache_len(sessionsql.cache_space_id('s'))", "1"},
		{"cache_delete('s', 'k', true)", "true"},
		{"cache_set('s', 'k', 'late')", "false"},
		{"cache_clear(sessionsql.cache_space_id('s'))", "0"},
	} {
		if got := get[string](t, pool, "SELECT (sessionsql."+each[0]+")::text"); got != each[1] {
			t.Errorf("%s: %s, want %s", each[0], got, each[1])
		}
	}
	reaped := get[int](t, pool,
		"SELECT count(*) FROM sessionsql.cache_reap(spaces => '{1}', budgets => '{1}')")
	if reaped != 1 {
		t.Errorf("cache_reap: %d rows", reaped)
	}
}

func TestAnOperatorMayMakeTheCacheUnlogged(t *testing.T) {
	cluster := ownCluster(t, 1)
	d := newDatabaseIn(t, cluster)
	d.primary.MustExec("SELECT sessionsql.cache_set('s', 'before', 'v')")
	token := get[string](t, d.primary, "SELECT sessionsql.new_session('p', durable => true)")
	d.primary.MustExec("ALTER TABLE sessionsql.cache_entry SET UNLOGGED")
	if got := d.cacheValue(t, "before"); got != "v" {
		t.Errorf("the change lost an entry: %q", got)
	}
	d.emptyCache()
	cacheTour(t, d.primary)
	d.pretendOlder()
	must(t, sessionsql.Install(t.Context(), d.primary))
	persistence := get[string](t, d.primary, `SELECT c.relpersistence::text FROM pg_class AS c
		WHERE c.oid = 'sessionsql.cache_entry'::regclass`)
	if persistence != "u" {
		t.Errorf("an installation made the table logged again: %q", persistence)
	}
	get[int64](t, d.primary, "SELECT h.cache_heap_bytes FROM sessionsql.health AS h")

	// A replica cannot read the entries, and says so. It reads all else.
	d.CatchUp(t)
	if _, err := d.replica.Exec("SELECT sessionsql.cache_get('s', 'before')"); sqlState(err) != "0A000" {
		t.Errorf("a get on a replica: %v", err)
	} else {
		t.Logf("a get on a replica: %v", err)
	}
	get[int64](t, d.replica, "SELECT h.cache_heap_bytes FROM sessionsql.health AS h")
	if n := get[int](t, d.replica, "SELECT count(*) FROM sessionsql.find_session($1)", token); n != 1 {
		t.Errorf("the replica finds %d sessions", n)
	}

	// A crash empties the table, and the hand begins again.
	must(t, cluster.Primary.Kill())
	must(t, cluster.Primary.Start(t.Context()))
	d.primary = open(t, d.PrimaryDSN())
	if n := get[int](t, d.primary, "SELECT count(*) FROM sessionsql.cache_entry"); n != 0 {
		t.Errorf("a crash left %d entries", n)
	}
	cacheTour(t, d.primary)
	if n := get[int](t, d.primary, "SELECT count(*) FROM sessionsql.find_session($1)", token); n != 1 {
		t.Errorf("a crash left %d sessions", n)
	}
}
