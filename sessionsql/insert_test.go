package sessionsql_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jmoiron/sqlx"

	"github.com/sessionsql/postgres/internal/sessiontest"
	"github.com/sessionsql/postgres/sessionsql"
)

func TestInsertKeepsWhatItWasGiven(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nil)
	for _, payload := range []string{
		"", "p", `{"a": "\"\\"}`, "\x01\n\t\x7f", "{NULL,\"x\"}", "日本語 🙂", strings.Repeat("long ", 10_000),
	} {
		token := mustInsert(t, store, payload, nil)
		sess := mustLookup(t, store, token)
		if sess.Payload != payload || sess.Version != 1 || sess.Subject != "" {
			t.Errorf("payload %q came back as %q, version %d, subject %q",
				payload, sess.Payload, sess.Version, sess.Subject)
		}
		if sess.ExpiresIn < 39*time.Minute || sess.ExpiresIn > 40*time.Minute {
			t.Errorf("the session expires in %v, want 40m", sess.ExpiresIn)
		}
	}
	own := &sessionsql.InsertOptions{Subject: "user:7", IdleTimeout: 15 * time.Minute, Lifetime: time.Minute}
	token := mustInsert(t, store, "p", own)
	sess := mustLookup(t, store, token)
	if sess.Subject != "user:7" || sess.ExpiresIn > time.Minute {
		t.Errorf("subject %q, the session expires in %v", sess.Subject, sess.ExpiresIn)
	}
}

func TestInsertStoresOnlyAHash(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nil)
	token := mustInsert(t, store, "p", nil)
	row := get[string](t, d.primary, "SELECT s::text FROM sessionsql.session AS s")
	if strings.Contains(row, string(token)) || strings.Contains(row, string(token[11:])) {
		t.Error("the row holds the token")
	}
	if !get[bool](t, d.primary, `
		SELECT secret_hash = sha256(substr(decode(translate($1::text, '-_', '+/'), 'base64'), 9))
		FROM sessionsql.session`, string(token)) {
		t.Error("the row does not hold SHA-256 of the token's secret")
	}
}

func TestBadInputIsRefusedBeforeAnySQL(t *testing.T) {
	nowhere, options := nowhere(t), quiet()
	options.MaxPayloadBytes = 10
	store := sessiontest.OpenStoreOver(t, nowhere, options)
	defer closeStore(t, store)

	for payload, reason := range map[string]string{
		"eleven byte":  "is too large",
		"a\x00b":       "contains a NUL byte",
		"a\xffb":       "is not valid UTF-8",
		"\xed\xa0\x80": "is not valid UTF-8",
	} {
		for op, call := range map[string]func() error{
			"Insert": func() error { _, err := store.Insert(t.Context(), payload, nil); return err },
			"InsertTx": func() error {
				_, err := store.InsertTx(t.Context(), nowhere, payload, nil)
				return err
			},
			"Update": func() error {
				_, err := store.Update(t.Context(), wellFormed, payload, 1)
				return err
			},
		} {
			var refused *sessionsql.PayloadError
			if err := call(); !errors.As(err, &refused) {
				t.Errorf("%s of %q: %v", op, payload, err)
			} else if refused.Reason != reason || refused.Size != len(payload) ||
				strings.Contains(refused.Error(), payload) {
				t.Errorf("%s of %q: %v", op, payload, refused)
			}
		}
	}
	for _, own := range []sessionsql.InsertOptions{
		{IdleTimeout: -time.Second},
		{IdleTimeout: time.Microsecond},
		{Lifetime: -2},
		{IdleTimeout: 1<<63 - 1},
		{Subject: strings.Repeat("x", 1025)},
		{Subject: "\x00"},
		{Subject: "\xff"},
	} {
		if _, err := store.Insert(t.Context(), "p", &own); !errors.Is(err, sessionsql.ErrOptions) {
			t.Errorf("%+v: %v", own, err)
		}
	}
}

func TestSQLRefusesBadInputWithoutRepeatingIt(t *testing.T) {
	d := newDatabase(t)
	for _, call := range []string{
		"insert(NULL, 'canary')",
		"insert('\\x00', 'canary')",
		"insert($hash, NULL)",
		"insert($hash, 'canary', NULL)",
		"insert($hash, 'canary', '0')",
		"insert($hash, 'canary', '-1 second')",
		"insert($hash, 'canary', '1000 years')",
		"insert($hash, 'canary', '200000 years')",
		"insert($hash, 'canary', '178000000 years')",
		"insert($hash, 'canary', lifetime => '0')",
		"insert($hash, 'canary', lifetime => '-1 day')",
		"insert($hash, 'canary', lifetime => '200000 years')",
		"insert($hash, 'canary', lifetime => '-178000000 years')",
		"insert($hash, 'canary', subject => repeat('x', 1025))",
		"new_session('canary', '178000000 years')",
		"new_session('canary', lifetime => '178000000 years')",
		"insert_batch(ARRAY[$hash], ARRAY['canary', 'b'], '{1,1}', '{NULL,NULL}', '{NULL,NULL}')",
		"insert_batch(ARRAY[$hash], ARRAY['canary'], '{-1}', '{NULL}', '{NULL}')",
		"insert_batch(ARRAY[$hash], ARRAY[NULL], '{1}', '{NULL}', '{NULL}')",
		"insert_batch(ARRAY[$hash], ARRAY['canary'], '{1e300}', '{NULL}', '{NULL}')",
		"insert_batch(ARRAY[$hash], ARRAY['canary'], '{NaN}', '{NULL}', '{NULL}')",
		"insert_batch(ARRAY[$hash], ARRAY['canary'], '{1}', '{Infinity}', '{NULL}')",
		"update_payload(1, $hash, NULL)",
		"update_payload_batch('{1,2}', ARRAY[$hash, $hash], '{canary,NULL}', '{1,1}')",
		"update_payload_batch('{1,2}', ARRAY[$hash, $hash], '{canary}', '{1,1}')",
		"update_payload_batch('{1}', ARRAY[$hash], NULL, '{1}')",
	} {
		_, err := d.primary.Exec("SELECT sessionsql." + strings.ReplaceAll(call, "$hash", "sha256('a')"))
		var refusal *pgconn.PgError
		if !errors.As(err, &refusal) {
			t.Errorf("%s: %v", call, err)
			continue
		}
		if text := fmt.Sprintf("%+v", refusal); strings.Contains(text, "canary") ||
			!strings.HasPrefix(refusal.Message, "sessionsql.") {
			t.Errorf("%s: %s", call, text)
		}
	}
	if n := d.countAll(t); n != 0 {
		t.Errorf("the refused inserts made %d rows", n)
	}
}

func TestInsertLeavesDurabilityAloneWhenDurable(t *testing.T) {
	d := newDatabase(t)
	for durable, want := range map[bool]string{true: "on", false: "off"} {
		tx := d.primary.MustBegin()
		get[int64](t, tx, "SELECT sessionsql.insert(sha256('a'), 'p', durable => $1)", durable)
		if got := get[string](t, tx, "SELECT current_setting('synchronous_commit')"); got != want {
			t.Errorf("durable => %v: synchronous_commit is %s in the transaction, want %s",
				durable, got, want)
		}
		must(t, tx.Commit())
		if got := get[string](t, d.primary, "SELECT current_setting('synchronous_commit')"); got != "on" {
			t.Errorf("durable => %v: synchronous_commit is %s afterwards", durable, got)
		}
	}
	store := d.Store(t, nil)
	tx := d.primary.MustBegin()
	mustInsertTx(t, store, tx, "p", nil)
	if got := get[string](t, tx, "SELECT current_setting('synchronous_commit')"); got != "on" {
		t.Errorf("InsertTx: synchronous_commit is %s in the caller's transaction", got)
	}
	must(t, tx.Rollback())
}

func TestInsertTxExistsOnlyOnceCommitted(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nil)
	for _, commit := range []bool{false, true} {
		var tx *sqlx.Tx = d.primary.MustBegin()
		token := mustInsertTx(t, store, tx, "p", nil)
		if _, err := store.Lookup(t.Context(), token); err != sessionsql.ErrNoSession {
			t.Errorf("before the commit: %v", err)
		}
		end := tx.Rollback
		if commit {
			end = tx.Commit
		}
		must(t, end())
		if _, err := store.Lookup(t.Context(), token); (err == nil) != commit {
			t.Errorf("committed %v: %v", commit, err)
		}
	}
}

func TestConcurrentInsertsNeverCross(t *testing.T) {
	random := seeded(t)
	d := newDatabase(t)
	store := d.Store(t, nil)
	const callers, rounds = 64, 50
	var wait sync.WaitGroup
	for caller := range callers {
		cancelled := make([]bool, rounds)
		for i := range cancelled {
			cancelled[i] = random.IntN(10) == 0
		}
		wait.Go(func() {
			for round := range rounds {
				payload := fmt.Sprintf("%d/%d", caller, round)
				ctx, cancel := context.WithCancel(t.Context())
				if cancelled[round] {
					go cancel()
				}
				token, err := store.Insert(ctx, payload, nil)
				cancel()
				if err != nil {
					if !cancelled[round] || !errors.Is(err, context.Canceled) {
						t.Errorf("%s: %v", payload, err)
					}
					continue
				}
				sess, err := store.Lookup(t.Context(), token)
				if err != nil || sess.Payload != payload {
					t.Errorf("the token of %s opens %q, %v", payload, sess.Payload, err)
				}
			}
		})
	}
	wait.Wait()
}

func TestOneBadInsertFailsAlone(t *testing.T) {
	d := newDatabase(t)
	store := d.Store(t, nil)
	badFailsAlone(t, d, func(_ int, payload string) error {
		_, err := store.Insert(t.Context(), payload, nil)
		return err
	})
	if n := d.countAll(t); n != 560 {
		t.Errorf("%d sessions, want 560", n)
	}
}

// badWriters is the number of callers of badFailsAlone. Each has a number and writes ten times.
const badWriters = 64

// badFailsAlone lets many callers write at once, and checks that only the bad payloads of every eighth caller
// are refused. A constraint of the operator refuses them, because the Store refuses others before it sends.
func badFailsAlone(t *testing.T, d *database, write func(caller int, payload string) error) {
	t.Helper()
	d.refuse(t, "session", "payload <> 'bad'")
	atOnce(badWriters, func(caller int) {
		payload := "good"
		if caller%8 == 0 {
			payload = "bad"
		}
		for range 10 {
			err := write(caller, payload)
			var refused *sessionsql.Error
			switch {
			case payload == "good" && err != nil:
				t.Errorf("a good write failed: %v", err)
			case payload == "bad" && (!errors.As(err, &refused) || refused.SQLState != "23514"):
				t.Errorf("a bad write: %v", err)
			}
		}
	})
}

// refuse adds a constraint, as an operator may, until the test ends.
func (d *database) refuse(t *testing.T, table, condition string) {
	t.Helper()
	alter := "ALTER TABLE sessionsql." + table
	for _, each := range d.tables() {
		each.primary.MustExec(alter + " ADD CONSTRAINT no_bad CHECK (" + condition + ")")
		t.Cleanup(func() { each.primary.MustExec(alter + " DROP CONSTRAINT no_bad") })
	}
}
