package sessionsql_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sessionsql/postgres/sessionsql"
)

// found returns the payloads that find_session finds.
func (d *database) found(t *testing.T, token sessionsql.Token) (payloads []string) {
	t.Helper()
	const find = "SELECT f.payload FROM sessionsql.find_session($1) AS f"
	must(t, d.primary.Select(&payloads, find, string(token)))
	return payloads
}

func TestTokensOfSQLAndGoAreInterchangeable(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nil)

	// SQL makes this token, and Go uses it.
	token := sessionsql.Token(get[string](t, d.primary,
		"SELECT sessionsql.new_session('sql', '15 minutes', '1 hour', 'ann')"))
	if len(token) != 32 {
		t.Errorf("the token has %d characters", len(token))
	}
	sess := mustOpen(t, store, token, "sql", "new_session in Go")
	if sess.Subject != "ann" || sess.Version != 1 {
		t.Errorf("the session is %v of subject %q", sess, sess.Subject)
	}
	if got := d.clocks(t, token); got.Idle != 900 || got.ExpiresIn > 1200 || got.DeadlineIn > 3600 {
		t.Errorf("the timeouts are %+v", got)
	}
	mustUpdate(t, store, token, "written in Go", 1)
	renewed := mustRotate(t, store, token, &sessionsql.RotateOptions{Grace: -1})
	if got := d.found(t, renewed); len(got) != 1 || got[0] != "written in Go" {
		t.Errorf("find_session of a token that Go rotated: %q", got)
	}
	if got := d.found(t, token); len(got) != 0 {
		t.Errorf("find_session of the token before: %q", got)
	}
	must(t, store.Revoke(t.Context(), renewed))
	if got := d.found(t, renewed); len(got) != 0 {
		t.Errorf("find_session after Revoke: %q", got)
	}

	// Go makes this token, and SQL uses it.
	token = mustInsert(t, store, "go", nil)
	if got := d.found(t, token); len(got) != 1 || got[0] != "go" {
		t.Errorf("find_session of Go's token: %q", got)
	}
	if !get[bool](t, d.primary, "SELECT sessionsql.end_session($1)", string(token)) {
		t.Error("end_session does not know Go's token")
	}
	if get[bool](t, d.primary, "SELECT sessionsql.end_session($1)", string(token)) {
		t.Error("end_session ended a session twice")
	}
	if _, err := store.Lookup(t.Context(), token); err != sessionsql.ErrNoSession {
		// The Store did not end the session itself, so a replica may show it for a moment.
		d.CatchUp(t)
		mustBeDead(t, store, token, "after end_session")
	}
}

func TestTokenPartsAreTheSameInSQLAndGo(t *testing.T) {
	random := seeded(t)
	d := newDatabase(t)
	const n = 2000
	texts, ids, hashes := make([]string, n), make([]int64, n), make([]string, n)
	for i := range texts {
		raw := make([]byte, 24)
		for j := range raw {
			raw[j] = byte(random.Uint32())
		}
		raw[0] &= 127 // because ids are positive
		if i%2 == 0 {
			clear(raw[:6]) // because most ids are small
		}
		texts[i] = base64.RawURLEncoding.EncodeToString(raw)
		ids[i] = int64(binary.BigEndian.Uint64(raw))
		hashes[i] = fmt.Sprintf("%x", sha256.Sum256(raw[8:]))
	}
	wrong := get[int](t, d.primary, `
		SELECT count(*) FROM unnest($1::text[], $2::bigint[], $3::text[]) AS k (token, id, hash)
		WHERE sessionsql.token_id(k.token) IS DISTINCT FROM NULLIF(k.id, 0)
		  OR encode(sessionsql.token_hash(k.token), 'hex') IS DISTINCT FROM k.hash`, texts, ids, hashes)
	if wrong != 0 {
		t.Errorf("SQL splits %d of %d tokens differently", wrong, n)
	}
}

// malformedTokens returns more than 1000 kinds: every length, every position with each kind of wrong
// character, and every kind of invalid id.
func malformedTokens(good string) []string {
	var all []string
	for n := range 100 {
		if n != len(good) {
			all = append(all, strings.Repeat("A", n), (good + good + good + good)[:n])
		}
	}
	for i := range len(good) {
		for _, wrong := range []string{
			"=", "+", "/", " ", "\n", "\r", "\t", "\v", ".", "'", `"`, `\`, "%", "\x01", "\x7f", "$", ";",
			"é", "Ａ", "А", "\u200b", "🦉", "\u0301",
			"\u212a", "\u017f", // lower() and upper() turn these into a k and an S
		} {
			all = append(all, good[:i]+wrong+good[i+1:]) // the same number of characters
			if len(wrong) > 1 && i+len(wrong) <= len(good) {
				all = append(all, good[:i]+wrong+good[i+len(wrong):]) // the same number of bytes
			}
		}
		all = append(all, good[:i]+good[i+1:], good[:i]+"A"+good[i:], good[:i]+"\n"+good[i:])
	}
	for _, id := range []uint64{0, 1 << 63, 1<<63 + 1, 1<<64 - 1, 1<<64 - 2} { // ids that are 0 or negative
		raw, _ := base64.RawURLEncoding.DecodeString(good)
		binary.BigEndian.PutUint64(raw, id)
		all = append(all, base64.RawURLEncoding.EncodeToString(raw))
	}
	return append(all,
		good+"\n", "\n"+good, good+" ", " "+good, good+"\x01", good+"=", good+good,
		"'"+good+"'", "{"+good+"}", "("+good+")", `\x`+good, `\x`+fmt.Sprintf("%x", good),
		"NULL", "null", "''", "' OR true --", "$1", "%", "_", "^", ".*")
}

func TestMalformedTokensOpenNothingAndRaiseNothingInSQL(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nil)
	good := mustInsert(t, store, "p", nil)
	tokens := malformedTokens(string(good))
	if len(tokens) < 1000 {
		t.Fatalf("the test has only %d kinds of tokens", len(tokens))
	}
	type counts struct{ IDs, Hashes, Found, Ended, All int }
	got := get[counts](t, d.primary, `
		SELECT count(sessionsql.token_id(k.token)) AS ids,
		  count(CASE WHEN k.token !~ '^[A-Za-z0-9_-]{32}$' THEN sessionsql.token_hash(k.token) END) AS hashes,
		  count(*) FILTER (WHERE EXISTS (SELECT FROM sessionsql.find_session(k.token))) AS found,
		  count(*) FILTER (WHERE sessionsql.end_session(k.token)) AS ended,
		  count(*) AS all
		FROM (SELECT unnest($1::text[]) UNION ALL SELECT NULL) AS k (token)`, tokens)
	if got != (counts{All: len(tokens) + 1}) {
		t.Errorf("the calls with %d malformed tokens returned %+v", len(tokens), got)
	}
	// Go's own parser refuses the same tokens.
	for _, token := range tokens {
		if _, err := store.Lookup(t.Context(), sessionsql.Token(token)); err != sessionsql.ErrNoSession {
			t.Errorf("%q: %v", token, err)
		}
	}
	mustOpen(t, store, good, "p", "the good one")

	// Text that PostgreSQL cannot hold never reaches a function, and the server's error does not repeat it.
	start := "canary" + string(good)[:25]
	for name, bad := range map[string]string{"NUL": start + "\x00", "not UTF-8": start + "\xff"} {
		for _, verb := range []string{"find_session", "end_session", "token_id", "token_hash"} {
			_, err := d.primary.Exec("SELECT sessionsql."+verb+"($1::text)", bad)
			var pg *pgconn.PgError
			if !errors.As(err, &pg) || strings.Contains(fmt.Sprintf("%+v %v", *pg, err), "canary") {
				t.Errorf("%s, %s: %v", name, verb, err)
			}
		}
	}
}

func TestSecretsAreDistinctAndEveryBitIsBalanced(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nil)
	const n = 10_000
	inSQL := func() (tokens []string) {
		must(t, d.primary.Select(&tokens, `SELECT sessionsql.new_session('p')
			FROM generate_series(1, $1)`, n))
		return tokens
	}
	inGo := func() []string {
		tokens := make([]string, n)
		var wait sync.WaitGroup
		const callers = 50
		for caller := range callers {
			wait.Go(func() {
				for i := caller; i < n; i += callers {
					token, err := store.Insert(t.Context(), "p", nil)
					if err != nil {
						t.Error(err)
					}
					tokens[i] = string(token)
				}
			})
		}
		wait.Wait()
		return tokens
	}
	for maker, make := range map[string]func() []string{"new_session": inSQL, "Insert": inGo} {
		secrets, ids := map[[16]byte]bool{}, map[int64]bool{}
		var ones [128]int
		for _, token := range make() {
			raw, err := base64.RawURLEncoding.DecodeString(token)
			must(t, err)
			secrets[[16]byte(raw[8:])] = true
			ids[int64(binary.BigEndian.Uint64(raw))] = true
			for i := range ones {
				ones[i] += int(raw[8+i/8] >> (i % 8) & 1)
			}
		}
		if len(secrets) != n || len(ids) != n {
			t.Errorf("%s: %d secrets and %d ids are distinct, want %d", maker, len(secrets), len(ids), n)
		}
		// The bound is six standard deviations, which a good source exceeds once in millions of runs. A fixed
		// bit is far beyond it.
		bound := 6 * math.Sqrt(n) / 2
		for i, count := range ones {
			if math.Abs(float64(count)-n/2) > bound {
				t.Errorf("%s: bit %d is set in %d of %d secrets", maker, i, count, n)
			}
		}
	}
}
