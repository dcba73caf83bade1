package sessionsql_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/sessionsql/postgres/internal/sessiontest"
	"github.com/sessionsql/postgres/sessionsql"
)

// A setting is a set of parameters for the connections of an application.
type setting struct {
	parameters []string // names and values in turn
	install    bool     // the bundle is installed under it too, because it can change the meaning of SQL text
	refused    string   // the group of calls that the bundle refuses under it
}

func (s setting) name() string {
	var pairs []string
	for pair := range slices.Chunk(s.parameters, 2) {
		pairs = append(pairs, strings.Join(pair, "="))
	}
	return strings.Join(pairs, ",")
}

// refusals are the errors of the groups that the bundle refuses under some setting.
var refusals = map[string]string{
	"capped":  "max_sessions needs a transaction of isolation level read committed",
	"batches": "the setting array_nulls must be on",
}

// textSettings can change the meaning of SQL text or the form of a value.
func textSettings() (all []setting) {
	for _, pair := range [][2]string{
		{"standard_conforming_strings", "off"},
		{"backslash_quote", "off"},
		{"transform_null_equals", "on"},
		{"quote_all_identifiers", "on"},
		{"check_function_bodies", "off"},
		{"search_path", ""},
		{"bytea_output", "escape"},
		{"DateStyle", "German"},
		{"DateStyle", "SQL, DMY"},
		{"IntervalStyle", "sql_standard"},
		{"TimeZone", "America/St_Johns"}, // 3:30 behind UTC, with summer time
		{"default_toast_compression", "pglz"},
	} {
		all = append(all, setting{parameters: pair[:], install: true})
	}
	for _, pair := range [][2]string{
		{"backslash_quote", "on"},
		{"IntervalStyle", "postgres"},
		{"IntervalStyle", "postgres_verbose"},
		{"IntervalStyle", "iso_8601"},
		{"TimeZone", "Asia/Kathmandu"},     // 5:45 ahead of UTC
		{"TimeZone", "Pacific/Kiritimati"}, // where each day begins first
		{"TimeZone", "<-13>+13:59"},
		{"client_encoding", "LATIN1"},
		{"client_encoding", "SQL_ASCII"},
		{"extra_float_digits", "0"},
		{"extra_float_digits", "-15"},
		{"xmloption", "document"},
		{"row_security", "off"},
		{"session_replication_role", "replica"},
		{"default_table_access_method", "heap"},
		{"lock_timeout", "5s"},
		{"statement_timeout", "10s"},
		{"default_transaction_isolation", "read uncommitted"},
		{"default_transaction_deferrable", "on"},
		{"synchronous_commit", "off"},
		{"synchronous_commit", "local"},
		{"synchronous_commit", "remote_write"},
		{"synchronous_commit", "remote_apply"},
		{"synchronous_commit", "on"},
	} {
		all = append(all, setting{parameters: pair[:]})
	}
	const isolation = "default_transaction_isolation"
	for refused, parameters := range map[string][][]string{
		"batches": {{"array_nulls", "off"}},
		"capped": {
			{isolation, "repeatable read"},
			{isolation, "serializable"},
			{isolation, "serializable", "default_transaction_deferrable", "on"},
		},
	} {
		for _, set := range parameters {
			all = append(all, setting{parameters: set, install: true, refused: refused})
		}
	}
	return all
}

// planSettings change the plans of the server.
func planSettings(t *testing.T, pool *sqlx.DB) (all []setting) {
	t.Helper()
	parallel := get[string](t, pool, `
		SELECT s.name FROM pg_settings AS s WHERE s.name IN ('force_parallel_mode', 'debug_parallel_query')`)
	for _, set := range [][]string{
		{"plan_cache_mode", "force_custom_plan"},
		{"plan_cache_mode", "force_generic_plan"},
		{"jit", "on", "jit_above_cost", "0"}, // it stays off in a server without JIT
		{parallel, "on"},
		{"parallel_setup_cost", "0", "parallel_tuple_cost", "0", "min_parallel_table_scan_size", "0"},
		{"from_collapse_limit", "1"},
		{"join_collapse_limit", "1"},
		{"geqo", "on", "geqo_threshold", "2"},
		{"constraint_exclusion", "on"},
		{"cursor_tuple_fraction", "1"},
		{"work_mem", "64kB"},
	} {
		all = append(all, setting{parameters: set})
	}
	for _, node := range []string{
		"bitmapscan", "hashagg", "hashjoin", "indexonlyscan", "indexscan", "material", "memoize", "mergejoin",
		"nestloop", "seqscan", "sort", "tidscan",
	} {
		// Before version 18, such a plan costs so much that the server would compile it each time.
		all = append(all, setting{parameters: []string{"enable_" + node, "off", "jit", "off"}})
	}
	return all
}

// localeSettings use the first of some locales that this machine has.
func localeSettings(t *testing.T, pool *sqlx.DB) []setting {
	t.Helper()
	for _, locale := range []string{"de_DE.UTF-8", "fr_FR.UTF-8", "en_US.UTF-8", "C.UTF-8", "POSIX"} {
		if _, err := pool.Exec("SET LOCAL lc_numeric = '" + locale + "'"); err == nil {
			return []setting{{parameters: []string{
				"lc_messages", locale, "lc_monetary", locale, "lc_numeric", locale, "lc_time", locale,
			}}}
		}
	}
	t.Fatal("this machine lacks the locale POSIX")
	return nil
}

// A group is a list of calls whose answers do not depend on the time. $id7 is the id of the seventh session
// of numbered, $hash7 the hash of its secret, $hex7 the hash in hexadecimal, and $token7 its token.
type group struct {
	name  string
	calls []string
}

var groups = []group{
	{"plain", slices.Concat(pureCalls, readingCalls, writingCalls, endingCalls, cacheCalls)},
	{"capped", []string{
		"SELECT sessionsql.insert(sha256('new 1'), 'made 1', '30 minutes', NULL, 'subject 1', false, 2) > 0",
		"SELECT octet_length(sessionsql.new_session('token 1', subject => 'subject 2', max_sessions => 1))",
		"SELECT sessionsql.rotate($id3, $hash3, sha256('rotated 3'), '0', 'subject 0', 2)",
		"SELECT sessionsql.lock_excess('subject 4', 3, $id4)",
		"SELECT sessionsql.evict_subject('subject 4', 2, $id4)",
		"SELECT sessionsql.evict_subject('subject 3', 1)",
	}},
	{"sets", []string{
		"SELECT sessionsql.cache_set('space', 'new 1', 'it''s', '20 minutes')",
		"SELECT sessionsql.cache_set('space', 'key 1', '1', '20 minutes', '1 minute', true)",
		`SELECT sessionsql.cache_set('space', 'gone', 'v'),
			sessionsql.cache_set('space', 'new 2', '', '-1 day')`,
		`SELECT sessionsql.cache_set_batch(ARRAY[$key2, $key3], ARRAY[$space, $space],
		   ARRAY['two', 'three']::bytea[], ARRAY[1200, NULL]::float8[], ARRAY['key 2', NULL]::bytea[])`,
	}},
	{"batches", []string{
		`SELECT count(i.id) FROM sessionsql.insert_batch(ARRAY[sha256('new 1'), sha256('new 2')],
		   ARRAY['made 1', 'made 2'], ARRAY[60, 1800]::float8[], ARRAY[NULL, 3600]::float8[],
		   ARRAY[NULL, 'someone'], true, ARRAY['label', NULL]) AS i`,
		`SELECT count(i.secret_hash) FROM sessionsql.insert_batch(ARRAY[sha256('new 3'), sha256('new 4')],
		   '{"it''s, {3}",made}', '{60,60}', ARRAY[NULL, 60]::float8[],
		   '{NULL,"NULL"}', false, '{"NULL",NULL}') AS i`,
		`SELECT i.id FROM sessionsql.insert_batch(ARRAY[$hash1], ARRAY[NULL], '{60}', '{60}', '{s}') AS i`,
		`SELECT sessionsql.cache_set_batch('{$uuid4,$uuid5}', '{$space,$space}', '{"a,b",c}', '{1200,1200}',
		   '{"key 4",NULL}', '{0.5,0}')`,
	}},
}

var pureCalls = []string{
	"SELECT sessionsql.version()",
	"SELECT sessionsql.max_timeout(), sessionsql.max_subject_bytes(), sessionsql.max_label_bytes()",
	"SELECT sessionsql.token_id($token1), sessionsql.token_id('no token'), sessionsql.token_id(NULL)",
	"SELECT sessionsql.token_hash($token1), sessionsql.token_hash('no token'), sessionsql.token_hash(NULL)",
	"SELECT sessionsql.opens($hash1, $hash2, $hash1, 'infinity')",
	"SELECT sessionsql.opens($hash1, $hash2, NULL, NULL)",
	"SELECT sessionsql.opens_at($hash1, $hash2, $hash1, '2000-01-02', '2000-01-01')",
	"SELECT sessionsql.next_expiry(60, '1999-12-31 12:00+00'), sessionsql.deadline_after(NULL)",
	"SELECT sessionsql.next_expiry(60, 'infinity') BETWEEN now() AND now() + interval '2 minutes'",
	"SELECT sessionsql.deadline_after(60) BETWEEN now() AND now() + interval '2 minutes'",
	"SELECT sessionsql.is_due('2999-01-01', 1e12, 'infinity')",
	"SELECT sessionsql.is_due('2000-01-01', 60, 'infinity')",
	"SELECT sessionsql.insert_needs_check($hash1, 'p', 60, NULL, NULL, NULL, NULL)",
	"SELECT sessionsql.insert_needs_check($hash1, 'p', 60, 0, NULL, NULL, NULL)",
	"SELECT sessionsql.token_from($id1, 'secret of no. 01') = $token1, octet_length(sessionsql.new_secret())",
	"SELECT sessionsql.check_insert($hash1, 'p', 60, 60, 's', 1, 'l')",
	"SELECT sessionsql.check_insert($hash1, NULL, 60, 60, 's')",
	"SELECT sessionsql.check_insert('short', 'p', 60, 60, 's')",
	"SELECT sessionsql.check_insert($hash1, 'p', 60, 60, repeat('s', sessionsql.max_subject_bytes() + 1))",
	"SELECT sessionsql.check_insert($hash1, 'p', 60, 60, NULL, label => repeat('l', 1000))",
	"SELECT sessionsql.at_home($id1), sessionsql.is_home($id1), sessionsql.at_home($key1::uuid)",
	"SELECT sessionsql.shard_of($id1), sessionsql.shard_of($key1::uuid), sessionsql.shards()",
	"SELECT sessionsql.elsewhere($id1)",
	"SELECT sessionsql.commit_asynchronously(false), sessionsql.commit_asynchronously(true)",
	`SELECT current_setting('synchronous_commit') <> 'off'
	 FROM (SELECT sessionsql.commit_synchronously() OFFSET 0) AS c`,
}

const opened = `
	SELECT o.id, o.payload, o.version, o.subject, o.expires_in BETWEEN 1100 AND 1200 FROM sessionsql.`

var readingCalls = []string{
	opened + "lookup($id1, $hash1) AS o",
	opened + "lookup($id1, $hash2) AS o",
	opened + "lookup($id31, $hash31) AS o",
	opened + "open_session($id1, $hash1) AS o",
	opened + "find_session($token2) AS o",
	opened + "find_session('no token') AS o",
	"SELECT l.id, l.label, l.is_current FROM sessionsql.list_sessions($token3) AS l",
	"SELECT l.id FROM sessionsql.list_sessions('no token') AS l",
	opened + "lookup_near(ARRAY[$id1, $id2, $id31], ARRAY[$hash1, $hash1, $hash31]) AS o WHERE o.is_current",
	opened + "lookup_batch(ARRAY[$id1, $id2, $id31], ARRAY[$hash1, $hash1, $hash31]) AS o",
	opened + `lookup_batch('{$id2,$id3}', E'{"\\\\x$hex2","\\\\x$hex3"}') AS o ORDER BY o.id`,
	"SELECT l.id, l.label, l.expires_in BETWEEN 1100 AND 1200 FROM sessionsql.list_subject('subject 3') AS l",
	"SELECT count(*), min(l.expires_in) > 1100 FROM sessionsql.live_session AS l",
	"SELECT count(*) FROM sessionsql.subject_session",
	"SELECT count(*) FROM sessionsql.listed_session",
	"SELECT n.in_recovery, n.wal_position > 0 FROM sessionsql.node AS n",
	`SELECT h.estimated_rows >= 0, h.heap_bytes > 0, h.index_bytes > 0, h.dead_tuples >= 0,
	   h.hot_ratio BETWEEN 0 AND 1, h.oldest_xmin_age >= 0, h.wraparound_age >= 0
	 FROM sessionsql.health AS h`,
}

const written = "SELECT w.id, w.version FROM sessionsql.update_payload_batch"

var writingCalls = []string{
	"SELECT sessionsql.insert(sha256('new 1'), 'made 1') > 0",
	"SELECT sessionsql.insert(sha256('new 2'), 'made 2', '1 min', '1 hour', 'it''s', false, NULL, 'l') > 0",
	`SELECT sessionsql.insert(sha256('new 3'), '{"made": 3}', '1 day 02:03:04.5', '1 mon', 'NULL', true) > 0`,
	"SELECT sessionsql.insert(NULL, 'p')",
	"SELECT sessionsql.insert($hash1, NULL)",
	"SELECT sessionsql.insert($hash1, 'p', '0')",
	"SELECT sessionsql.insert($hash1, 'p', '1 hour', '-1 hour')",
	"SELECT sessionsql.insert($hash1, 'p', '1 hour', '101 years')",
	"SELECT octet_length(sessionsql.new_session('token 1'))",
	"SELECT octet_length(sessionsql.new_session('token 2', '1 minute', '1 hour', 'me', true, NULL, 'label'))",
	"SELECT octet_length(sessionsql.new_session('token 3', 60, 3600))",
	"SELECT octet_length(sessionsql.new_session('token 4', '60'::text, '1 hour'::text))",
	"SELECT octet_length(sessionsql.new_session('token 5', interval '1 minute'))",
	"SELECT u.id, u.payload, u.expires_in BETWEEN 2000 AND 2400 FROM sessionsql.use_session($token2) AS u",
	"SELECT u.id FROM sessionsql.use_session($token31) AS u",
	"SELECT sessionsql.save_session($token18, 'written', 1), sessionsql.save_session('no token', 'written')",
	"SELECT sessionsql.save_session($token18, 'lost', 1), sessionsql.save_session($token18, NULL)",
	"SELECT sessionsql.save_session($token19, 'token 19'), sessionsql.save_session($token20, 'token 20')",
	`SELECT octet_length(sessionsql.renew_session($token19, 'NULL', '0')),
		sessionsql.renew_session('no token')`,
	"SELECT octet_length(sessionsql.renew_session($token20, NULL, 0))",
	"SELECT sessionsql.touch_batch(ARRAY[$id3, $id4, $id31, NULL])",
	"SELECT sessionsql.touch_batch('{$id4,$id5}')",
	"SELECT sessionsql.update_payload($id5, $hash5, 'written', 1)",
	"SELECT sessionsql.update_payload($id5, $hash5, 'lost', 1)",
	"SELECT sessionsql.update_payload($id5, $hash6, 'forged')",
	"SELECT sessionsql.update_payload($id5, $hash5, NULL)",
	written + `(ARRAY[$id6, $id7, $id8], ARRAY[$hash6, $hash6, $hash8],
	  ARRAY['a', 'b', 'c'], ARRAY[1, 1, 7]) AS w`,
	written + `('{$id7}', E'{"\\\\x$hex7"}', '{"it''s, {7}"}', '{1}') AS w`,
	written + `(ARRAY[$id6], ARRAY[$hash6], ARRAY[NULL], ARRAY[1]) AS w`,
	"SELECT sessionsql.rotate($id9, $hash9, sha256('rotated 9'))",
	"SELECT sessionsql.rotate($id9, $hash9, sha256('rotated twice'))",
	opened + "lookup($id9, $hash9) AS o",
	opened + "lookup($id9, sha256('rotated 9')) AS o",
	"SELECT sessionsql.rotate($id10, $hash10, sha256('rotated 10'), '0', 'NULL')",
	opened + "lookup($id10, $hash10) AS o",
	"SELECT sessionsql.rotate($id10, sha256('rotated 10'), $hash10, '01:00:01')",
	"SELECT sessionsql.rotate($id10, sha256('rotated 10'), 'short')",
}

var endingCalls = []string{
	"SELECT sessionsql.revoke($id11, $hash12)",
	"SELECT sessionsql.revoke($id11, $hash11)",
	"SELECT sessionsql.revoke($id11, $hash11)",
	"SELECT sessionsql.revoke($id31, $hash31)",
	`SELECT sessionsql.revoke_batch(
		ARRAY[$id12, $id31, NULL, $id15], ARRAY[$hash13, $hash31, $hash14, $hash15])`,
	"SELECT sessionsql.revoke_listed($id12, $hash12, $id17)",
	"SELECT sessionsql.revoke_listed($id12, $hash12, $id13)",
	"SELECT sessionsql.revoke_subject('subject 4', $id14)",
	"SELECT sessionsql.revoke_subject('nobody')",
	"SELECT sessionsql.revoke_listed_of('subject 3', $id8), sessionsql.revoke_listed_of('nobody', $id4)",
	"SELECT sessionsql.end_session($token15)",
	"SELECT sessionsql.end_session($token15)",
	"SELECT sessionsql.end_session('no token')",
	"SELECT sessionsql.end_listed_session($token18, $id8), sessionsql.end_listed_session('no token', $id13)",
	"SELECT sessionsql.end_excess(ARRAY[$id16])",
	"SELECT r.reaped FROM sessionsql.reap(3, 100) AS r",
	"SELECT r.reaped FROM sessionsql.last_reap AS r",
	"SELECT r.reaped FROM sessionsql.reap(0, 1) AS r",
	"SELECT sessionsql.note_timeline()",
	"SELECT sessionsql.shard(1, 0)",
	"SELECT sessionsql.shard(3, 0)",
	"SELECT sessionsql.begin_change_epoch()",
	"SELECT c.everything, cardinality(c.ids), cardinality(c.keys) FROM sessionsql.changes(NULL) AS c",
	"SELECT sessionsql.change_life() <> ''",
	"SELECT sessionsql.purge_changes()",
	"CALL sessionsql.reap_all()",
	"CALL sessionsql.reap_all(0)",
}

// cacheCalls work on the entries of numbered. Calls of cache_set stand among the batches.
var cacheCalls = []string{
	"SELECT sessionsql.cache_space_id('space'), sessionsql.cache_key('space', 'key 1')",
	"SELECT sessionsql.cache_key('space', sha256('key')), sessionsql.cache_lease_key($key1)",
	"SELECT sessionsql.cache_key('near:space', 'key') > sessionsql.first_near_key()",
	"SELECT sessionsql.log_entries(ARRAY[sessionsql.cache_key('near:space', 'key'), NULL])",
	"SELECT sessionsql.cache_key('', 'key')",
	"SELECT sessionsql.cache_key('space', '')",
	"SELECT sessionsql.is_ttl(60), sessionsql.is_ttl(-1), sessionsql.is_ttl(NULL), sessionsql.is_ttl('NaN')",
	"SELECT sessionsql.cache_expiry(60) BETWEEN now() AND now() + interval '2 minutes'",
	"SELECT sessionsql.cache_expiry(NULL) = 'infinity', sessionsql.cache_expiry(-1e9) >= now()",
	"SELECT sessionsql.tombstone_lifetime() = interval '1 hour', sessionsql.entry_bytes('abc', 'key')",
	"SELECT sessionsql.check_entry('f', $key1, $space, 'v', 60)",
	"SELECT sessionsql.check_entry('f', $key1, $space, 'v', 'Infinity')",
	"SELECT sessionsql.cache_sum('41', 1), sessionsql.cache_sum('-9223372036854775808', 1)",
	"SELECT sessionsql.cache_sum('x', 1)",
	"SELECT sessionsql.cache_get('space', 'key 1'), sessionsql.cache_get('space', 'gone')",
	"SELECT sessionsql.cache_get('space', 'dead'), sessionsql.cache_get('space', 'none')",
	"SELECT g.key, g.value, g.expires_in > 1100 FROM sessionsql.cache_get_batch(ARRAY[$key1, $key2]) AS g",
	"SELECT g.key, g.value, g.expires_in > 1100 FROM sessionsql.cache_get_batch('{$uuid3,$uuid4}') AS g",
	"SELECT l.key, l.plain_key, l.value FROM sessionsql.cache_list($space, NULL, 3) AS l",
	"SELECT l.key FROM sessionsql.cache_list($space, $key1, 100) AS l",
	"SELECT l.key FROM sessionsql.cache_list($space, $key1, 0) AS l",
	"SELECT sessionsql.cache_len($space), sessionsql.cache_len(0)",
	`SELECT sessionsql.cache_touch('space', 'key 1', '1 hour'),
		sessionsql.cache_touch('space', 'gone', '1 hour')`,
	"SELECT sessionsql.cache_touch_batch(ARRAY[$key2, $key3], ARRAY[3600, NULL]::float8[])",
	"SELECT sessionsql.cache_touch_batch('{$uuid4,$uuid5}', '{1,3600}')",
	"SELECT sessionsql.cache_touch_batch('{$uuid4,$uuid5}', '{1}')",
	"SELECT sessionsql.cache_add($key1, $space, 'v', 60)",
	`SELECT sessionsql.cache_add($key20, $space, 'added', 1200),
		sessionsql.cache_add($key20, $space, 'v', 60)`,
	"SELECT sessionsql.cache_add(NULL, $space, 'v', 60)",
	"SELECT sessionsql.cache_swap($key5, sha256('5'), 'swapped', 1200)",
	`SELECT sessionsql.cache_swap($key5, sha256('5'), 'lost', 1200),
		sessionsql.cache_swap($key21, sha256(''), '')`,
	`SELECT sessionsql.cache_swap($key6, sha256('6'), NULL),
		sessionsql.cache_swap($key7, sha256('7'), NULL, 1, true)`,
	"SELECT sessionsql.cache_swap($key8, 'short', NULL)",
	"SELECT sessionsql.cache_increment('space', 'key 8'), sessionsql.cache_increment('space', 'gone')",
	"SELECT sessionsql.cache_increment('space', 'born', 7, '20 minutes')",
	"SELECT sessionsql.cache_increment_by_key($key8, $space, -10, NULL)",
	"SELECT l.value, l.leased FROM sessionsql.cache_fetch_lease('space', 'key 9', 'me') AS l",
	`SELECT l.value, l.leased
		FROM sessionsql.cache_fetch_lease('space', 'key 22', 'me', '20 minutes', '0') AS l`,
	"SELECT l.value, l.leased FROM sessionsql.cache_fetch_lease('space', 'key 22', 'you') AS l",
	`SELECT sessionsql.cache_end_lease('space', 'key 22', 'you'),
		sessionsql.cache_end_lease('space', 'key 22', 'me')`,
	`SELECT l.value, l.leased FROM sessionsql.cache_fetch_lease_by_key(
	   $key9, sessionsql.cache_lease_key($key9), $space, 'me', 1200, 1300) AS l`,
	"SELECT sessionsql.cache_delete('space', 'key 9'), sessionsql.cache_delete('space', 'key 9')",
	"SELECT sessionsql.cache_delete('space', 'key 10', true), sessionsql.cache_delete('space', 'gone', true)",
	`SELECT sessionsql.cache_delete_batch(ARRAY[$key11, $key23]),
		sessionsql.cache_delete_batch('{$uuid12}', true)`,
	"SELECT r.reaped, r.evicted FROM sessionsql.cache_reap(100, 100, false, '{$space}', '{400}') AS r",
	"SELECT r.reaped, r.evicted FROM sessionsql.cache_reap(0, 1) AS r",
	"SELECT r.reaped, r.evicted FROM sessionsql.cache_reap(spaces => '{1,2}', budgets => '{1}') AS r",
	"SELECT e.evicted, e.next_page FROM sessionsql.evict(0, 1, 1) AS e",
	`SELECT s.reaped
		FROM sessionsql.sweep('sessionsql.cache_entry', 'key', 'sessionsql.cache_reaper', 9, 9) AS s`,
	"SELECT sessionsql.cache_clear($space), sessionsql.cache_clear($space, true)",
	"SELECT sessionsql.cache_clear($space, true)",
}

var numberedParts = regexp.MustCompile(`\$(id|hash|hex|token|key|uuid)(\d+)`)

// numberedID returns the id of session n of numbered. The sequence gives no id as high as these.
func numberedID(n int) int { return 1_000_000 + n }

// spell replaces the names of the numbered sessions' parts in a statement.
func spell(statement string) string {
	statement = strings.ReplaceAll(statement, "$space", strconv.Itoa(int(cacheSpace("space"))))
	return numberedParts.ReplaceAllStringFunc(statement, func(part string) string {
		match := numberedParts.FindStringSubmatch(part)
		n, _ := strconv.Atoi(match[2])
		secret := fmt.Sprintf("secret of no. %02d", n) // 16 bytes, like every secret
		switch match[1] {
		case "id":
			return strconv.Itoa(numberedID(n))
		case "hash":
			return "sha256('" + secret + "')"
		case "key":
			return "'" + cacheKey("space", "key "+match[2]).String() + "'::uuid"
		case "uuid":
			return cacheKey("space", "key "+match[2]).String()
		case "hex":
			return fmt.Sprintf("%x", sha256.Sum256([]byte(secret)))
		default:
			raw := append(binary.BigEndian.AppendUint64(nil, uint64(numberedID(n))), secret...)
			return "'" + base64.RawURLEncoding.EncodeToString(raw) + "'"
		}
	})
}

// numbered replaces all sessions by 40 with known ids and secrets, of which the last ten have expired. New
// ones get lower ids, which a call of sessionsql.shard has changed. It replaces all cache entries by 12 live
// ones, a dead one and a tombstone.
func (d *database) numbered(t testing.TB) {
	t.Helper()
	d.primary.MustExec(`TRUNCATE sessionsql.session; UPDATE sessionsql.reaper SET next_page = 0;
		ALTER SEQUENCE sessionsql.session_id_seq RESTART WITH 1`)
	d.emptyCache()
	d.primary.MustExec(`
		INSERT INTO sessionsql.cache_entry (key, expires_at, space, value, plain_key)
		SELECT
		  sessionsql.cache_key('space', n.name),
		  now() + CASE WHEN n.name = 'dead' THEN interval '-1 day' ELSE interval '20 minutes' END,
		  sessionsql.cache_space_id('space'),
		  CASE WHEN n.name <> 'gone' THEN convert_to(n.i::text, 'UTF8') END,
		  CASE WHEN n.i % 2 = 0 THEN convert_to(n.name, 'UTF8') END
		FROM (
		  SELECT i, 'key ' || i FROM generate_series(1, 12) AS i
		  UNION ALL VALUES (13, 'dead'), (14, 'gone')
		) AS n (i, name)`)
	d.primary.MustExec(`
		INSERT INTO sessionsql.session (
		  id, expires_at, created_at, idle_seconds, version, secret_hash, subject, payload, label
		) OVERRIDING SYSTEM VALUE
		SELECT
		  $1 + n,
		  now() + CASE WHEN n > 30 THEN interval '-1 day' ELSE interval '20 minutes' END,
		  now() - make_interval(mins => n),
		  1800,
		  1,
		  sha256(convert_to('secret of no. ' || lpad(n::text, 2, '0'), 'UTF8')),
		  'subject ' || n % 5,
		  'payload ' || n,
		  'label ' || n
		FROM generate_series(1, 40) AS n`, numberedID(0))
}

// rows describes all sessions and entries without the parts that depend on the time. It counts the time left
// in units of five minutes, and no session of the scripts is near the middle between two of them.
func (d *database) rows(t testing.TB) (rows []string) {
	t.Helper()
	must(t, d.primary.Select(&rows, `
		SELECT concat_ws(
		  ' ',
		  CASE WHEN s.id > $1 THEN s.id END,
		  s.version,
		  quote_nullable(s.subject),
		  quote_nullable(s.payload),
		  quote_nullable(s.label),
		  s.idle_seconds,
		  round(date_part('epoch', s.expires_at - now()) / 300),
		  CASE WHEN s.deadline < 'infinity' THEN round(date_part('epoch', s.deadline - now()) / 300) END,
		  s.previous_until IS NOT NULL,
		  CASE WHEN s.payload NOT LIKE 'token%' THEN encode(s.secret_hash, 'hex') END
		)
		FROM sessionsql.session AS s
		UNION ALL
		SELECT concat_ws(
		  ' ',
		  e.key,
		  e.space,
		  COALESCE(encode(e.value, 'hex'), 'tombstone'),
		  COALESCE(encode(e.plain_key, 'hex'), 'no plain key'),
		  CASE
		    WHEN e.expires_at < now() THEN 'dead'
		    WHEN e.expires_at < 'infinity' THEN round(date_part('epoch', e.expires_at - now()) / 300)::text
		    ELSE 'for ever'
		  END
		)
		FROM sessionsql.cache_entry AS e`, numberedID(0)))
	slices.Sort(rows)
	return rows
}

// tell returns a statement's answer as text. Go formats it, so that no setting of the session changes the
// text.
func tell(pool *sqlx.DB, statement string) string {
	var answer strings.Builder
	err := func() error {
		rows, err := pool.Queryx(statement)
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }()
		for rows.Next() {
			values, err := rows.SliceScan()
			if err != nil {
				return err
			}
			for _, value := range values {
				switch v := value.(type) {
				case time.Time:
					value = v.UTC()
				case []byte:
					value = fmt.Sprintf("%x", v)
				}
				fmt.Fprintf(&answer, "%v, ", value)
			}
			answer.WriteString("; ")
		}
		return rows.Err()
	}()
	if err != nil {
		return fmt.Sprintf("%s: %v", sqlState(err), err)
	}
	return answer.String()
}

// An outcome is the answers of a group's calls and the sessions after them.
type outcome struct {
	answers, rows []string
}

// run makes the calls of a group on the numbered sessions.
func (g group) run(t testing.TB, d *database, pool *sqlx.DB) (o outcome) {
	t.Helper()
	d.numbered(t)
	for _, call := range g.calls {
		o.answers = append(o.answers, strings.TrimSpace(call)+": "+tell(pool, spell(call)))
	}
	o.rows = d.rows(t)
	return o
}

// wantLines reports each line that is missing and each line too many.
func wantLines(t *testing.T, name string, got, want []string) {
	t.Helper()
	for _, line := range got {
		if !slices.Contains(want, line) {
			t.Errorf("%s: got the line %s", name, line)
		}
	}
	for _, line := range want {
		if !slices.Contains(got, line) {
			t.Errorf("%s: want the line %s", name, line)
		}
	}
	if !t.Failed() && !slices.Equal(got, want) {
		t.Errorf("%s: the order or the number of lines differs: got %q, want %q", name, got, want)
	}
}

// checkScripts checks that the groups call every function, and that no call is itself in error.
func checkScripts(t *testing.T, d *database, answers []string) {
	t.Helper()
	all := strings.Join(answers, "\n")
	var functions []string
	must(t, d.primary.Select(&functions, `
		SELECT p.proname FROM pg_proc AS p
		WHERE p.pronamespace = 'sessionsql'::regnamespace AND p.prorettype <> 'trigger'::regtype`))
	for _, function := range functions {
		if !strings.Contains(all, "sessionsql."+function+"(") {
			t.Errorf("the test does not call %s", function)
		}
	}
	for _, answer := range answers {
		if strings.Contains(answer, "SQLSTATE") && !strings.Contains(answer, "ERROR: sessionsql") {
			t.Errorf("the server refuses the call: %s", answer)
		}
	}
}

func TestTheBundleDoesTheSameUnderEverySetting(t *testing.T) {
	plain, withRoles := newDatabase(t), newDatabase(t)
	installRoles(t, withRoles.primary)
	catalog := withRoles.catalog(t)
	want := map[string]outcome{}
	var answers []string
	for _, g := range groups {
		want[g.name] = g.run(t, plain, open(t, plain.PrimaryDSN()))
		answers = append(answers, want[g.name].answers...)
	}
	checkScripts(t, plain, answers)
	plain.numbered(t)
	untouched := plain.rows(t)

	tried := slices.Concat(textSettings(), localeSettings(t, plain.primary), planSettings(t, plain.primary))
	for _, s := range tried {
		t.Run(s.name(), func(t *testing.T) {
			d := plain
			if s.install {
				d = emptyDatabaseIn(t, shared)
			}
			dsn := s.in(t, d.PrimaryDSN())
			pool := open(t, dsn)
			if s.install {
				installRoles(t, pool)
				wantLines(t, "catalog", d.catalog(t), catalog)
			}
			for _, g := range groups {
				got := g.run(t, d, pool)
				if s.refused != g.name {
					wantLines(t, g.name, got.answers, want[g.name].answers)
					wantLines(t, g.name, got.rows, want[g.name].rows)
					continue
				}
				for _, answer := range got.answers {
					if !strings.Contains(answer, refusals[g.name]) {
						t.Errorf("the server does not refuse the call: %s", answer)
					}
				}
				wantLines(t, g.name, got.rows, untouched)
			}
			d.primary.MustExec("TRUNCATE sessionsql.session")
			storeUnder(t, d, dsn)
		})
	}
}

// in returns a DSN whose connections have the setting.
func (s setting) in(t *testing.T, dsn string) string {
	t.Helper()
	// pgx does not take a plus for a space.
	dsn = strings.ReplaceAll(asUser(t, dsn, "", s.parameters...), "+", "%20")
	pool := open(t, dsn)
	for pair := range slices.Chunk(s.parameters, 2) {
		source := get[string](t, pool,
			"SELECT p.source FROM pg_settings AS p WHERE lower(p.name) = lower($1)", pair[0])
		if source != "client" {
			t.Fatalf("%s comes from the %s", pair[0], source)
		}
	}
	must(t, pool.Close())
	return dsn
}

// storeUnder makes every call of a Store over a DSN, and inserts text that looks like syntax.
func storeUnder(t *testing.T, d *database, dsn string) {
	t.Helper()
	store := sessiontest.OpenStore(t, dsn, nil, nil)
	defer closeStore(t, store)
	useEverything(t, store)
	if t.Failed() {
		return
	}

	payloads := []string{
		"", "NULL", "null", "{}", `{"quote": "it's \\ \"quoted\"", "brace": "{,}"}`,
		`\'`, `\x00`, `back\slash\`, "''",
	}
	var wait sync.WaitGroup
	for i := range 2 * len(payloads) { // enough callers for batches
		wait.Go(func() {
			keepsText(t, store, payloads[i%len(payloads)], sessionsql.InsertOptions{
				Subject: strings.Repeat(`it's {a} \ "subject"`, i%2),
				Label:   strings.Repeat(`"\'`, i%3),
			})
		})
	}
	wait.Wait()
	for where, want := range map[string]int{
		"s.subject = 'NULL' OR s.label = 'NULL'": 0,
		"s.subject IS NULL":                      len(payloads),
		"s.label IS NULL":                        2 * len(payloads) / 3,
	} {
		n := get[int](t, d.primary, "SELECT count(*) FROM sessionsql.session AS s WHERE "+where)
		if n != want {
			t.Errorf("%s: %d sessions, want %d", where, n, want)
		}
	}
}

// keepsText inserts, updates, looks up and lists one session.
func keepsText(t *testing.T, store *sessionsql.Store, payload string, own sessionsql.InsertOptions) {
	token, err := store.Insert(t.Context(), payload, &own)
	if err != nil {
		t.Errorf("Insert of %q: %v", payload, err)
		return
	}
	sess, err := store.Lookup(t.Context(), token)
	if err != nil || sess.Payload != payload || sess.Subject != own.Subject {
		t.Errorf("%q of %q came back as %q of %q, %v", payload, own.Subject, sess.Payload, sess.Subject, err)
	}
	if version, err := store.Update(t.Context(), token, payload+"!", 1); err != nil || version != 2 {
		t.Errorf("Update: %d, %v", version, err)
	}
	if sess, err = store.Lookup(t.Context(), token); err != nil || sess.Payload != payload+"!" {
		t.Errorf("%q was updated to %q, %v", payload, sess.Payload, err)
	}
	if own.Subject == "" {
		return
	}
	list, err := store.ListSubject(t.Context(), own.Subject, token)
	i := slices.IndexFunc(list, func(listed sessionsql.SubjectSession) bool { return listed.Current })
	if err != nil || i < 0 || list[i].Label != own.Label {
		t.Errorf("ListSubject: %+v, %v", list, err)
	} else if age := time.Since(list[i].CreatedAt); age.Abs() > 10*time.Minute {
		t.Errorf("the age of a new session is %v", age)
	}
}

// A pattern match on a text of 256 MB would need more memory than the server gives, and the error would carry
// the token into the server's log.
func TestATokenOfAnySizeRaisesNothing(t *testing.T) {
	d := newDatabase(t)
	for call, megabytes := range map[string]int{
		"SELECT count(*) = 0 FROM sessionsql.find_session(%s)": 100,
		"SELECT NOT sessionsql.end_session(%s)":                100,
		"SELECT count(*) = 0 FROM sessionsql.use_session(%s)":  100,
		"SELECT sessionsql.token_id(%s) IS NULL":               256,
		"SELECT sessionsql.token_hash(%s) IS NULL":             256,
	} {
		const unit = "repeat('x', 1024 * 1024)"
		token := fmt.Sprintf("(SELECT repeat(%s, s.n) FROM (VALUES (%d)) AS s (n))", unit, megabytes)
		if got := tell(d.primary, fmt.Sprintf(call, token)); got != "true, ; " {
			t.Errorf("%s of %d MB: %.200s", call, megabytes, got)
		}
	}
}

func TestHealthOfAReplicaSaysNothingThatItCannotKnow(t *testing.T) {
	d := newDatabase(t)
	d.fill(t, 100, "-1 hour")
	d.fill(t, 100, "1 hour")
	for !reap(t, d.primary, 50, 4096).LapDone {
	}
	d.primary.MustExec("SELECT sessionsql.cache_set('space', 'key', 'value', '-1 hour')")
	d.primary.MustExec("SELECT sessionsql.cache_reap()")
	d.CatchUp(t)
	unknown := []string{
		"dead_tuples", "hot_ratio", "last_autovacuum", "oldest_xmin_age",
		"cache_dead_tuples", "cache_hot_ratio",
	}
	for name, pool := range map[string]*sqlx.DB{"primary": d.primary, "replica": d.replica} {
		row := map[string]any{}
		must(t, pool.QueryRowx("TABLE sessionsql.health").MapScan(row))
		if len(row) != 17 {
			t.Errorf("%s: %d columns: %v", name, len(row), row)
		}
		for column, value := range row {
			switch {
			case name == "replica" && slices.Contains(unknown, column):
				if value != nil {
					t.Errorf("the replica says that %s is %v", column, value)
				}
			case value == nil && column != "last_autovacuum": // there may have been no autovacuum
				t.Errorf("the %s does not know %s", name, column)
			}
		}
	}
}

func TestReapAllReapsEverythingInManyTransactions(t *testing.T) {
	d := newDatabase(t)
	d.fill(t, 100, "1 hour")
	d.fill(t, 5000, "-1 hour")
	transactions := func() int64 {
		return get[int64](t, d.primary, "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")
	}
	before := transactions()
	d.primary.MustExec("CALL sessionsql.reap_all()")
	if n := d.countAll(t); n != 100 {
		t.Errorf("%d sessions are left, want the 100 live ones", n)
	}
	if n := transactions() - before; n < 5 {
		t.Errorf("reap_all deleted 5000 rows in %d transactions", n)
	}

	// reap_all reaps everything from any position of the hand.
	d.fill(t, 5000, "-1 hour")
	reap(t, d.primary, 3000, 4096)
	d.primary.MustExec("UPDATE sessionsql.session SET expires_at = now() - interval '1 second'")
	d.primary.MustExec("CALL sessionsql.reap_all()")
	if n := d.countAll(t); n != 0 {
		t.Errorf("%d sessions are left", n)
	}
}

func TestReapAllMakesAtMostMaxCalls(t *testing.T) {
	d := newDatabase(t)
	d.fill(t, 5000, "-1 hour")
	for calls, want := range []int{5000, 4000, 2000, 0} {
		if calls > 0 {
			d.primary.MustExec(fmt.Sprintf("CALL sessionsql.reap_all(%d)", calls))
		}
		if n := d.countAll(t); n != want {
			t.Errorf("after %d more calls %d rows are left, want %d", calls, n, want)
		}
	}
	d.fill(t, 10, "-1 hour")
	for _, calls := range []string{"0", "-1", "NULL"} {
		if _, err := d.primary.Exec("CALL sessionsql.reap_all(" + calls + ")"); sqlState(err) != "22023" {
			t.Errorf("reap_all(%s): %v", calls, err)
		}
	}
	if n := d.countAll(t); n != 10 {
		t.Errorf("a refused call left %d rows of 10", n)
	}
}

func TestReapAllRunsInNoTransactionBlock(t *testing.T) {
	d := newDatabase(t)
	d.fill(t, 10, "-1 hour")
	tx := d.primary.MustBegin()
	_, err := tx.Exec("CALL sessionsql.reap_all()")
	must(t, tx.Rollback())
	if sqlState(err) != "2D000" || d.countAll(t) != 10 {
		t.Errorf("in a transaction block: %v, %d rows are left", err, d.countAll(t))
	}
}

func TestReapAllLeavesTheWorkToAnotherReaper(t *testing.T) {
	d := newDatabase(t)
	installRoles(t, d.primary)
	reaper := d.login(t, "sessionsql_reaper")
	scheduler := open(t, asUser(t, d.PrimaryDSN(), reaper, "statement_timeout", "10s"))
	d.fill(t, 10, "-1 hour")
	other := d.primary.MustBegin()
	get[bool](t, other, "SELECT r.singleton FROM sessionsql.reaper AS r FOR UPDATE")
	if _, err := scheduler.Exec("CALL sessionsql.reap_all()"); err != nil || d.countAll(t) != 10 {
		t.Errorf("beside another reaper: %v, %d rows are left", err, d.countAll(t))
	}
	must(t, other.Rollback())
	if _, err := scheduler.Exec("CALL sessionsql.reap_all()"); err != nil || d.countAll(t) != 0 {
		t.Errorf("alone: %v, %d rows are left", err, d.countAll(t))
	}
}
