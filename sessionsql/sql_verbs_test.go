package sessionsql_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jmoiron/sqlx"

	"github.com/sessionsql/postgres/sessionsql"
)

// A used value is a row that use_session returns.
type used struct {
	ID        int64
	Payload   string
	Version   int
	Subject   *string
	ExpiresIn float64 `db:"expires_in"`
}

func (d *database) use(t *testing.T, pool sqlx.Queryer, token sessionsql.Token) (rows []used) {
	t.Helper()
	must(t, sqlx.Select(pool, &rows, "SELECT u.* FROM sessionsql.use_session($1) AS u", string(token)))
	return rows
}

func TestUseSessionKeepsAliveAndWritesOnlyWhenDue(t *testing.T) {
	d := newDatabase(t)
	token := sessionsql.Token(get[string](t, d.primary,
		"SELECT sessionsql.new_session('p', '30 minutes', '1 hour', 'ann', true)"))
	version := func() string {
		return get[string](t, d.primary, "SELECT ctid || ' ' || xmin FROM sessionsql.session")
	}
	before := version()
	got := d.use(t, d.primary, token)
	if len(got) != 1 || got[0].Payload != "p" || got[0].Version != 1 || *got[0].Subject != "ann" {
		t.Fatalf("use_session returned %+v", got)
	}
	if version() != before {
		t.Error("use_session wrote a session that was not due")
	}

	for left, want := range map[string]float64{"1799 seconds": 2400, "1 second": 2400, "1801 seconds": 1801} {
		d.setExpiry(got[0].ID, left)
		used := d.use(t, d.primary, token)
		if len(used) != 1 || used[0].ExpiresIn > want+1 || used[0].ExpiresIn < want-60 {
			t.Errorf("with %s left: %+v, want %.0f seconds left", left, used, want)
		}
		if found := d.clocks(t, token).ExpiresIn; found > want || found < want-60 {
			t.Errorf("with %s left, the row has %.0f", left, found)
		}
	}
	d.primary.MustExec(`UPDATE sessionsql.session
		SET deadline = now() + '10 minutes', expires_at = now() + '5 minutes'`)
	if used := d.use(t, d.primary, token); used[0].ExpiresIn > 600 {
		t.Errorf("use_session extended a session past its deadline: %+v", used)
	}
	d.setExpiry(got[0].ID, "-1 second")
	if used := d.use(t, d.primary, token); len(used) != 0 {
		t.Errorf("use_session returned an expired session: %+v", used)
	}
	if left := d.clocks(t, token).ExpiresIn; left > 0 {
		t.Errorf("use_session resurrected a session: %.0f seconds left", left)
	}
}

func TestUseSessionFindsWhereItCannotWrite(t *testing.T) {
	d := newDatabase(t)
	token := sessionsql.Token(get[string](t, d.primary,
		"SELECT sessionsql.new_session('p', durable => true)"))
	id := d.use(t, d.primary, token)[0].ID
	d.setExpiry(id, "1 minute")
	check := func(where string, pool sqlx.Queryer) {
		if used := d.use(t, pool, token); len(used) != 1 || used[0].ExpiresIn > 60 {
			t.Errorf("%s: %+v", where, used)
		}
	}

	d.CatchUp(t)
	check("a replica", d.replica)

	tx := d.primary.MustBegin()
	tx.MustExec("SET TRANSACTION READ ONLY")
	check("a transaction that is read only", tx)
	must(t, tx.Commit())

	holder := d.primary.MustBegin()
	for _, lock := range []string{"NO KEY UPDATE", "UPDATE"} {
		holder.MustExec("SELECT 1 FROM sessionsql.session WHERE id = $1 FOR "+lock, id)
		check("a row that another transaction holds FOR "+lock, d.primary)
	}
	holder.MustExec("DELETE FROM sessionsql.session WHERE id = $1", id)
	check("a row whose logout has not committed", d.primary)
	must(t, holder.Commit())
	if used := d.use(t, d.primary, token); len(used) != 0 {
		t.Errorf("after the logout: %+v", used)
	}
}

func TestUseSessionTakesNoDurabilityWhereItWritesNothing(t *testing.T) {
	d := newDatabase(t)
	token := sessionsql.Token(get[string](t, d.primary,
		"SELECT sessionsql.new_session('p', durable => true)"))
	id := d.use(t, d.primary, token)[0].ID
	for _, test := range []struct {
		left    string
		durable bool
		want    string
	}{{"35 minutes", false, "on"}, {"1 minute", true, "on"}, {"1 minute", false, "off"}} {
		d.setExpiry(id, test.left)
		tx := d.primary.MustBegin()
		tx.MustExec("SELECT FROM sessionsql.use_session($1, $2)", string(token), test.durable)
		if got := get[string](t, tx, "SELECT current_setting('synchronous_commit')"); got != test.want {
			t.Errorf("with %s left, durable %v: synchronous_commit is %s", test.left, test.durable, got)
		}
		must(t, tx.Rollback())
	}
}

func TestVerbsByTokenDoWhatTheStoreDoes(t *testing.T) {
	d := newDatabase(t)
	call := func(query string, args ...any) string {
		t.Helper()
		return get[string](t, d.primary, "SELECT COALESCE(("+query+")::text, 'null')", args...)
	}
	anonymous := call("sessionsql.new_session('p', label => 'Firefox')")

	// save_session returns the new version, 0 for another version and -1 for no session.
	for _, test := range []struct {
		token    string
		expected any
		want     string
	}{
		{anonymous, 1, "2"},
		{anonymous, 1, "0"},
		{anonymous, int64(1) << 40, "0"},
		{anonymous, 0, "0"},
		{anonymous, -1, "0"},
		{anonymous, nil, "3"},
		{strings.Repeat("A", 32), nil, "-1"},
	} {
		if got := call("sessionsql.save_session($1, 'q', $2)", test.token, test.expected); got != test.want {
			t.Errorf("save_session at version %v: %s, want %s", test.expected, got, test.want)
		}
	}

	// A login kills the anonymous token.
	token := call("sessionsql.renew_session($1, 'ann')", anonymous)
	if used := d.use(t, d.primary, sessionsql.Token(token)); len(used) != 1 || *used[0].Subject != "ann" {
		t.Fatalf("after renew_session: %+v", used)
	}
	for _, dead := range []string{anonymous, "no token"} {
		if got := call("sessionsql.renew_session($1, 'mallory')", dead); got != "null" {
			t.Errorf("renew_session of a dead token: %s", got)
		}
		if used := d.use(t, d.primary, sessionsql.Token(dead)); len(used) != 0 {
			t.Errorf("a dead token opens %+v", used)
		}
	}
	renewed := call("sessionsql.renew_session($1)", token) // leaves a grace of 10 seconds
	if len(d.use(t, d.primary, sessionsql.Token(token))) != 1 {
		t.Error("the previous token does not open within the grace")
	}
	if got := call("sessionsql.renew_session($1)", token); got != "null" {
		t.Errorf("two requests renewed one token: %s", got)
	}
	if got := call("sessionsql.save_session($1, 'r', 3)", token); got != "4" {
		t.Errorf("save_session within the grace: %s", got)
	}
	token = renewed

	// A subject sees and ends its own sessions only.
	other := call("sessionsql.new_session('p', subject => 'ann', label => 'Lynx')")
	call("sessionsql.new_session('p', subject => 'bob')")
	d.primary.MustExec(`UPDATE sessionsql.session SET created_at = now() - interval '1 day'
		WHERE label = 'Firefox'`)
	var list []struct {
		ID        int64
		Label     string
		IsCurrent bool `db:"is_current"`
	}
	must(t, d.primary.Select(&list, "SELECT id, label, is_current FROM sessionsql.list_sessions($1)", token))
	if len(list) != 2 || list[0].Label != "Lynx" || list[0].IsCurrent || list[1].Label != "Firefox" ||
		!list[1].IsCurrent {
		t.Fatalf("list_sessions: %+v", list)
	}
	for _, none := range []string{call("sessionsql.new_session('p')"), anonymous, "no token"} {
		if n := get[int](t, d.primary, "SELECT count(*) FROM sessionsql.list_sessions($1)", none); n != 0 {
			t.Errorf("list_sessions of a token without a subject: %d rows", n)
		}
	}
	bobs := get[int64](t, d.primary, "SELECT id FROM sessionsql.session WHERE subject = 'bob'")
	for _, test := range []struct {
		token string
		id    int64
		want  string
	}{
		{token, bobs, "false"},
		{token, list[1].ID, "false"}, // end_session ends the session of the token
		{anonymous, list[0].ID, "false"},
		{token, list[0].ID, "true"},
		{token, list[0].ID, "false"},
	} {
		if got := call("sessionsql.end_listed_session($1, $2)", test.token, test.id); got != test.want {
			t.Errorf("end_listed_session(%d): %s, want %s", test.id, got, test.want)
		}
	}
	if len(d.use(t, d.primary, sessionsql.Token(other))) != 0 {
		t.Error("end_listed_session left the session alive")
	}
	if got := call("sessionsql.end_session($1)", token); got != "true" {
		t.Errorf("end_session: %s", got)
	}
}

// A driver declares the types of its parameters: psycopg declares the smallest integer type and JDBC declares
// varchar. No driver needs a cast.
func TestVerbsByTokenTakeWhatDriversSend(t *testing.T) {
	d := newDatabase(t)
	numbers := []string{"smallint", "integer", "bigint", "real", "double precision", "numeric"}
	texts := []string{"unknown", "text", "varchar", "interval"}
	value := func(typ, number, text string) string {
		switch typ {
		case "unknown":
			return "'" + text + "'"
		case "text", "varchar", "interval":
			return fmt.Sprintf("'%s'::%s", text, typ)
		default:
			return number + "::" + typ
		}
	}
	for _, typ := range append(numbers, texts...) {
		minutes, hours := value(typ, "60", "1 minute"), value(typ, "7200", "2 hours")
		for _, call := range []string{
			fmt.Sprintf("sessionsql.new_session('p', %s, %s, 'ann')", minutes, hours),
			fmt.Sprintf("sessionsql.new_session('p', %s)", minutes),
			fmt.Sprintf("sessionsql.new_session('p', idle_timeout => %s, subject => 'ann')", minutes),
			fmt.Sprintf("sessionsql.new_session('p'::varchar, lifetime => %s, idle_timeout => %s)",
				hours, minutes),
		} {
			token := get[string](t, d.primary, "SELECT "+call)
			kept := get[bool](t, d.primary, `
				SELECT s.idle_seconds = 60 AND ($2 = (s.deadline <= now() + interval '2 hours'))
				FROM sessionsql.session AS s WHERE s.id = sessionsql.token_id($1)`,
				token, strings.Contains(call, hours))
			if !kept {
				t.Errorf("%s kept other timeouts", call)
			}
			renewed := get[string](t, d.primary, fmt.Sprintf("SELECT sessionsql.renew_session($1, 'bob', %s)",
				value(typ, "0", "0")), token)
			if len(d.use(t, d.primary, sessionsql.Token(token))) != 0 ||
				len(d.use(t, d.primary, sessionsql.Token(renewed))) != 1 {
				t.Errorf("renew_session fails with a grace of type %s", typ)
			}
		}
	}
	token := get[string](t, d.primary, "SELECT sessionsql.new_session('p')")
	for i, typ := range numbers[:3] {
		var saved int
		must(t, d.primary.Get(&saved, fmt.Sprintf(`SELECT sessionsql.save_session($1::varchar, 'p'::varchar,
			%d::%s)`, i+1, typ), token))
		if saved != i+2 {
			t.Errorf("save_session with a version of type %s: %d", typ, saved)
		}
		end := fmt.Sprintf("SELECT sessionsql.end_listed_session($1, 1::%s)", typ)
		if get[bool](t, d.primary, end, token) {
			t.Errorf("end_listed_session with an id of type %s ended a session", typ)
		}
		get[string](t, d.primary,
			fmt.Sprintf("SELECT sessionsql.new_session('p', subject => 's', max_sessions => 1::%s)", typ))
	}

	for call, state := range map[string]string{
		"sessionsql.new_session('p', 0)":                                              "22023",
		"sessionsql.new_session('p', -1)":                                             "22023",
		"sessionsql.new_session('p', 'soon')":                                         "22007",
		"sessionsql.new_session('p', 'NaN'::float8)":                                  "22008",
		"sessionsql.new_session('p', 3155760001)":                                     "22023",
		"sessionsql.new_session('p', subject => 's', max_sessions => 3000000000)":     "22003",
		"sessionsql.new_session('p', subject => 's', max_sessions => 0)":              "22023",
		"sessionsql.renew_session('" + token + "', NULL, 3601)":                       "22023",
		"sessionsql.renew_session('" + token + "', NULL, 'soon')":                     "22007",
		"sessionsql.renew_session('" + token + "', repeat('x', 2000))":                "22023",
		"sessionsql.save_session('" + token + "', NULL)":                              "22004",
		"sessionsql.new_session('p', label => repeat('x', 2000), idle_timeout => 60)": "22023",
	} {
		_, err := d.primary.Exec("SELECT " + call)
		if sqlState(err) != state || strings.Contains(err.Error(), token) {
			t.Errorf("%s: %v, want %s", call, err, state)
		}
	}
}
