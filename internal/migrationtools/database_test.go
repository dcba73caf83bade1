package migrationtools_test

import (
	"database/sql"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/sessionsql/postgres/internal/pgschema"
	"github.com/sessionsql/postgres/internal/testkit"
)

var databases atomic.Int64

// A database is one that a tool migrates.
type database struct {
	*sql.DB
	dsn string
}

// newDatabase makes an empty database of the role migrator. When a transaction that makes functions commits,
// a trigger keeps the settings of that moment in the table settings_0.
func newDatabase(t *testing.T) database {
	t.Helper()
	name := fmt.Sprintf("test%d", databases.Add(1))
	admin := testkit.OpenPool(t, server.DSN("postgres"))
	_, err := admin.ExecContext(t.Context(), "CREATE DATABASE "+name+" OWNER migrator")
	must(t, err)
	db := database{testkit.OpenPool(t, migratorDSN(name)), migratorDSN(name)}
	db.exec(t, `
		CREATE TABLE settings_0 (backend integer, name text, setting text);
		CREATE TABLE installing (transaction xid8 PRIMARY KEY DEFAULT pg_current_xact_id());
		CREATE FUNCTION keep_settings() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
		  TRUNCATE public.settings_0;
		  INSERT INTO public.settings_0
		  SELECT pg_catalog.pg_backend_pid(), s.name, s.setting FROM pg_catalog.pg_settings AS s;
		  RETURN NULL;
		END $$;
		CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON installing DEFERRABLE INITIALLY DEFERRED
		  FOR EACH ROW EXECUTE FUNCTION keep_settings();
		CREATE FUNCTION note_installing() RETURNS event_trigger LANGUAGE plpgsql AS $$
		BEGIN
		  INSERT INTO public.installing DEFAULT VALUES ON CONFLICT DO NOTHING;
		END $$`)
	_, err = testkit.OpenPool(t, server.DSN(name)).ExecContext(t.Context(), `
		CREATE EVENT TRIGGER installing ON ddl_command_end WHEN TAG IN ('CREATE FUNCTION')
		EXECUTE FUNCTION note_installing()`)
	must(t, err)
	return db
}

// keepSettings returns a statement of an application. It keeps the settings in a table, which the search path
// puts into the schema public.
func keepSettings(number int) string {
	return fmt.Sprintf("CREATE TABLE settings_%d AS "+
		"SELECT pg_backend_pid() AS backend, s.name, s.setting FROM pg_settings AS s", number)
}

func (db database) exec(t *testing.T, statement string) {
	t.Helper()
	_, err := db.ExecContext(t.Context(), statement)
	must(t, err)
}

func (db database) strings(t *testing.T, query string) (found []string) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query)
	must(t, err)
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var each string
		must(t, rows.Scan(&each))
		found = append(found, each)
	}
	must(t, rows.Err())
	return found
}

// isAsInstalled compares the schema with what Install makes.
func (db database) isAsInstalled(t *testing.T) {
	t.Helper()
	got, err := pgschema.Describe(t.Context(), db)
	must(t, err)
	for _, line := range installed {
		if !slices.Contains(got, line) {
			t.Errorf("Install makes what this tool does not: %s", line)
		}
	}
	for _, line := range got {
		if !slices.Contains(installed, line) {
			t.Errorf("this tool makes what Install does not: %s", line)
		}
	}
}

// atCommit is the number that newDatabase's trigger gives to the settings.
const atCommit = 0

// sameSettings checks that one connection has the same settings at two numbers.
func (db database) sameSettings(t *testing.T, before, after int) {
	t.Helper()
	for _, each := range db.strings(t, fmt.Sprintf(`
		SELECT concat_ws(' ', a.backend, b.backend, COALESCE(a.name, b.name), a.setting, 'becomes', b.setting)
		FROM public.settings_%d AS a
		FULL JOIN public.settings_%d AS b ON b.name = a.name
		WHERE (a.backend, a.setting) IS DISTINCT FROM (b.backend, b.setting)
		  AND b.name NOT LIKE 'plpgsql.%%' -- which are there once the connection has run a block
		`, before, after)) {
		t.Errorf("between the numbers %d and %d: %s", before, after, each)
	}
	count := testkit.Get[int](t, db, fmt.Sprintf("SELECT count(*) FROM public.settings_%d", after))
	if count < 200 {
		t.Errorf("number %d has %d settings: there is nothing to compare", after, count)
	}
}

// newSessions makes sessions and returns their tokens.
func (db database) newSessions(t *testing.T) []string {
	t.Helper()
	return db.strings(t, `
		SELECT sessionsql.new_session('payload ' || i, subject => 'user') FROM generate_series(1, 10) AS i`)
}

// keeps checks that the tokens of newSessions still open their sessions.
func (db database) keeps(t *testing.T, tokens []string) {
	t.Helper()
	for i, token := range tokens {
		got := testkit.Get[string](t, db, "SELECT f.payload FROM sessionsql.find_session($1) AS f", token)
		if want := fmt.Sprintf("payload %d", i+1); got != want {
			t.Errorf("payload %q, want %q", got, want)
		}
	}
	if len(tokens) != 10 {
		t.Errorf("%d sessions, want 10", len(tokens))
	}
}

// written returns a line for each object of the schema, which changes when somebody writes the object anew.
func (db database) written(t *testing.T) []string {
	t.Helper()
	return db.strings(t, `
		SELECT concat_ws(' ', p.oid, p.xmin)
		FROM pg_proc AS p WHERE p.pronamespace = 'sessionsql'::regnamespace
		UNION ALL
		SELECT concat_ws(' ', c.oid, c.xmin, c.relfilenode)
		FROM pg_class AS c WHERE c.relnamespace = 'sessionsql'::regnamespace
		UNION ALL
		SELECT concat_ws(' ', m.id, m.xmin) FROM sessionsql.migration AS m
		ORDER BY 1`)
}
