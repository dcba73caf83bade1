package main

import (
	"context"
	"fmt"
	"log/slog"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/sessionsql/postgres/internal/pgschema"
	"github.com/sessionsql/postgres/internal/testkit"
	"github.com/sessionsql/postgres/sessionsql"
	bundle "github.com/sessionsql/postgres/sql"
)

const create, update = "CREATE EXTENSION sessionsql", "ALTER EXTENSION sessionsql UPDATE"

// The members of the extension, by name.
const members = `
	SELECT pg_describe_object(d.classid, d.objid, 0) FROM pg_depend AS d
	JOIN pg_extension AS e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
	WHERE d.deptype = 'e' AND e.extname = 'sessionsql' ORDER BY 1`

// The relations whose rows pg_dump takes.
const dumped = `
	SELECT c.oid::regclass::text FROM pg_extension AS e
	CROSS JOIN unnest(e.extconfig, e.extcondition) AS c (oid, condition)
	WHERE e.extname = 'sessionsql' AND c.condition = '' ORDER BY 1`

// The functions, with the transaction that wrote each.
const written = "SELECT oid || ' ' || xmin FROM pg_proc WHERE pronamespace = 'sessionsql'::regnamespace"

// Sessions with all that a client and the database know of them.
const sessions = "SELECT to_jsonb(s)::text FROM sessionsql.session AS s ORDER BY s.id"

// compare fails for each line that only one of two lists has.
func compare(t *testing.T, what string, got, want []string) {
	t.Helper()
	if len(want) == 0 {
		t.Errorf("%s: there is nothing to compare", what)
	}
	for _, line := range got {
		if !slices.Contains(want, line) {
			t.Errorf("%s: unexpected: %s", what, line)
		}
	}
	for _, line := range want {
		if !slices.Contains(got, line) {
			t.Errorf("%s: missing: %s", what, line)
		}
	}
}

// sameAsCreated checks that the database holds what CREATE EXTENSION makes in an empty one.
func (d *database) sameAsCreated(t *testing.T) {
	t.Helper()
	created := newDatabase(t, create)
	version := testkit.Get[string](t, d, "SELECT extversion FROM pg_extension WHERE extname = 'sessionsql'")
	if version != bundle.Version {
		t.Errorf("the extension is of version %s", version)
	}
	compare(t, "members", lines(t, d, members), lines(t, created, members))
	compare(t, "dumped", lines(t, d, dumped), lines(t, created, dumped))
	compare(t, "schema", d.schema(t), created.schema(t))
}

func (d *database) schema(t *testing.T) []string {
	t.Helper()
	described, err := pgschema.Describe(t.Context(), d)
	testkit.Must(t, err)
	return described
}

func (d *database) store(t *testing.T) *sessionsql.Store {
	t.Helper()
	store, err := sessionsql.Open(t.Context(), d.dsn(), nil, &sessionsql.Options{
		FlushInterval: 20 * time.Millisecond, ReapInterval: 20 * time.Millisecond,
		Logger: slog.New(slog.DiscardHandler),
	})
	testkit.Must(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := store.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return store
}

// newToken makes a session and returns what opens it.
func (d *database) newToken(t *testing.T, payload string) string {
	t.Helper()
	const made = "SELECT sessionsql.new_session($1, subject => 'subject', durable => true)"
	return testkit.Get[string](t, d, made, payload)
}

func (d *database) opens(t *testing.T, token, payload string) {
	t.Helper()
	got := lines(t, d, "SELECT payload FROM sessionsql.find_session('"+token+"')")
	if len(got) != 1 || got[0] != payload {
		t.Errorf("a session with payload %q is found as %q", payload, got)
	}
}

func TestExtensionHoldsWhatAnInstallationHolds(t *testing.T) {
	installed, d := newDatabase(t, bundle.Install()), newDatabase(t, create)
	compare(t, "schema", d.schema(t), installed.schema(t))

	// Whatever is no member would be in each dump once more, and would stay behind.
	strays := lines(t, d, `
		WITH objects (catalog, oid) AS (
		  SELECT 'pg_namespace'::regclass, 'sessionsql'::regnamespace::oid
		  UNION ALL
		  SELECT 'pg_class'::regclass, c.oid FROM pg_class AS c
		  WHERE c.relnamespace = 'sessionsql'::regnamespace AND c.relkind <> 'i'
		  UNION ALL
		  SELECT 'pg_proc'::regclass, p.oid FROM pg_proc AS p
		  WHERE p.pronamespace = 'sessionsql'::regnamespace
		  UNION ALL
		  SELECT 'pg_type'::regclass, t.oid FROM pg_type AS t
		  WHERE t.typnamespace = 'sessionsql'::regnamespace AND t.typtype = 'd'
		)
		SELECT pg_describe_object(o.catalog, o.oid, 0) FROM objects AS o
		WHERE NOT EXISTS (
		  SELECT FROM pg_depend AS d WHERE d.classid = o.catalog AND d.objid = o.oid AND d.deptype = 'e'
		)`)
	if len(strays) > 0 {
		t.Errorf("no members: %v", strays)
	}

	// A dump holds the rows of each table that CREATE EXTENSION leaves empty, and none that it writes itself.
	// The rows of an UNLOGGED table are of no use to another server.
	var empty []string
	for _, table := range lines(t, d, `
		SELECT c.oid::regclass::text FROM pg_class AS c
		WHERE c.relnamespace = 'sessionsql'::regnamespace AND c.relkind IN ('r', 'S')
		  AND c.relpersistence = 'p'`) {
		if strings.HasSuffix(table, "_seq") || testkit.Get[int](t, d, "SELECT count(*) FROM "+table) == 0 {
			empty = append(empty, table)
		}
	}
	compare(t, "dumped", lines(t, d, dumped), empty)
}

func TestExtensionServesGo(t *testing.T) {
	d := newDatabase(t, create)
	before := lines(t, d, written)
	if err := sessionsql.Install(t.Context(), d.DB); err != nil {
		t.Fatal(err)
	}
	compare(t, "functions", lines(t, d, written), before)
	store := d.store(t)
	token, err := store.Insert(t.Context(), "payload", nil)
	testkit.Must(t, err)
	if sess, err := store.Lookup(t.Context(), token); err != nil || sess.Payload != "payload" {
		t.Errorf("%q, %v", sess.Payload, err)
	}
}

func TestExtensionNeedsNoSuperuser(t *testing.T) {
	d := newDatabase(t, "CREATE ROLE plain LOGIN")
	d.MustExec("GRANT CREATE ON DATABASE " + d.name + " TO plain")
	t.Cleanup(func() { d.MustExec("DROP OWNED BY plain CASCADE; DROP ROLE plain") })
	plain := connect(t, strings.Replace(d.dsn(), "postgres@", "plain@", 1))
	plain.MustExec(create + " VERSION '" + old + "'")
	plain.MustExec(update)
	plain.MustExec("SELECT sessionsql.new_session('payload')")
	plain.MustExec("DROP EXTENSION sessionsql")
	plain.MustExec(create)
}

// A client makes, writes, renews and ends sessions until it is told to stop, and keeps book of them.
type client struct {
	alive, dead map[string]string // token and payload
}

func (c *client) work(ctx context.Context, store *sessionsql.Store, pool *sqlx.DB, name string) error {
	background := context.Background()
	c.alive, c.dead = map[string]string{}, map[string]string{}
	for i := 0; ctx.Err() == nil; i++ {
		payload := fmt.Sprint(name, i)
		var token string
		if i%2 == 0 { // with nothing but SQL
			err := pool.Get(&token, "SELECT sessionsql.new_session($1, subject => $2)", payload, name)
			if err != nil {
				return fmt.Errorf("new_session: %w", err)
			}
			if _, err := pool.Exec("SELECT * FROM sessionsql.reap()"); err != nil {
				return fmt.Errorf("reap: %w", err)
			}
		} else {
			made, err := store.Insert(background, "new", &sessionsql.InsertOptions{Subject: name})
			if err == nil {
				_, err = store.Update(background, made, payload, 1)
			}
			if err == nil {
				made, err = store.Rotate(background, made, nil)
			}
			if err == nil {
				err = store.Flush(background)
			}
			if err != nil {
				return err
			}
			token = string(made)
		}
		switch sess, err := store.Lookup(background, sessionsql.Token(token)); {
		case err != nil:
			return err
		case sess.Payload != payload:
			return fmt.Errorf("payload %q, want %q", sess.Payload, payload)
		}
		if i%4 < 2 {
			c.alive[token] = payload
			continue
		}
		var ended bool
		if err := pool.Get(&ended, "SELECT sessionsql.end_session($1)", token); err != nil || !ended {
			return fmt.Errorf("end_session: %v, %w", ended, err)
		}
		c.dead[token] = payload
	}
	return nil
}

// underLoad runs a statement while clients work and a transaction that has read the table is open. No client
// may notice, and no session may be lost.
func (d *database) underLoad(t *testing.T, statement string) {
	t.Helper()
	store := d.store(t)
	clients := make([]client, 4)
	ctx, stop := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	for i := range clients {
		wait.Go(func() {
			if err := clients[i].work(ctx, store, d.DB, fmt.Sprint("client", i)); err != nil {
				t.Errorf("client %d: %v", i, err)
			}
		})
	}
	func() {
		defer wait.Wait()
		defer stop()
		reader := d.MustBegin()
		testkit.Get[int](t, reader, "SELECT count(*) FROM sessionsql.live_session")
		done := make(chan error, 1)
		go func() { done <- untilUnlocked(d, statement) }()
		time.Sleep(time.Second)
		if err := reader.Commit(); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Errorf("%s: %v", statement, err)
		}
		time.Sleep(200 * time.Millisecond)
	}()
	alive, dead := 0, 0
	for i := range clients {
		for token, payload := range clients[i].alive {
			d.opens(t, token, payload)
			alive++
		}
		for token := range clients[i].dead {
			if _, err := store.Lookup(t.Context(), sessionsql.Token(token)); err != sessionsql.ErrNoSession {
				t.Errorf("a session that was ended: %v", err)
			}
			dead++
		}
	}
	if alive < 10 || dead < 10 {
		t.Errorf("%d sessions alive and %d ended show nothing", alive, dead)
	}
	t.Logf("%d sessions alive and %d ended, 0 lost", alive, dead)
}

func TestUpdateUnderLoad(t *testing.T) {
	d := newDatabase(t, create+" VERSION '"+old+"'")
	d.underLoad(t, update)
	d.sameAsCreated(t)
}

// oldFile is a file of the old version.
func oldFile(t *testing.T, name string) string {
	t.Helper()
	return testkit.ReadFile(t, oldPath(name))
}

func TestAdoptionUnderLoad(t *testing.T) {
	for version, install := range map[string]string{
		old:            oldFile(t, "bundle"),
		bundle.Version: bundle.Install(),
	} {
		t.Run(version, func(t *testing.T) {
			d := newDatabase(t, "BEGIN; "+install+"; COMMIT")
			token := d.newToken(t, "before")
			before := lines(t, d, sessions)
			d.underLoad(t, create)
			d.opens(t, token, "before")
			// An older bundle's row gains a column.
			if version == bundle.Version && !slices.Contains(lines(t, d, sessions), before[0]) {
				t.Errorf("the row that was %s is gone or another", before[0])
			}
			d.sameAsCreated(t)
		})
	}
}

func TestAdoptionLeavesOtherObjectsAlone(t *testing.T) {
	d := newDatabase(t, bundle.Install(),
		"CREATE TABLE sessionsql.mine (id bigint GENERATED ALWAYS AS IDENTITY, session bigint)",
		"CREATE VIEW sessionsql.my_view AS SELECT * FROM sessionsql.live_session",
		"CREATE FUNCTION sessionsql.my_function() RETURNS integer LANGUAGE sql RETURN 1", create)
	for _, member := range lines(t, d, members) {
		if strings.Contains(member, "mine") || strings.Contains(member, "my_") {
			t.Errorf("%s became a member", member)
		}
	}
	compare(t, "members", lines(t, d, members), lines(t, newDatabase(t, create), members))
	// They have to go first, or by a CASCADE that names them.
	if _, err := d.Exec("DROP EXTENSION sessionsql"); sqlState(err) != "2BP01" {
		t.Errorf("DROP EXTENSION beside objects of one's own: %v", err)
	}
	d.MustExec("DROP VIEW sessionsql.my_view; DROP TABLE sessionsql.mine")
	d.MustExec("DROP FUNCTION sessionsql.my_function")
	d.dropsAll(t)
}

func TestAdoptionKeepsRoles(t *testing.T) {
	want := newDatabase(t, create, bundle.Roles())
	for name, statements := range map[string]string{
		bundle.Version: bundle.Install() + bundle.Roles(),
		old:            oldFile(t, "bundle") + oldFile(t, "roles"),
	} {
		d := newDatabase(t, "BEGIN; "+statements+"; COMMIT")
		token := d.newToken(t, "payload")
		d.MustExec(create)
		compare(t, "schema, from "+name, d.schema(t), want.schema(t))
		compare(t, "members, from "+name, lines(t, d, members), lines(t, want, members))
		d.opens(t, token, "payload")
	}
}

func TestInstallationRefusesAnOlderExtension(t *testing.T) {
	d := newDatabase(t, create+" VERSION '"+old+"'")
	before := lines(t, d, written)
	const cure = "run ALTER EXTENSION sessionsql UPDATE"
	if err := sessionsql.Install(t.Context(), d.DB); err == nil || !strings.Contains(err.Error(), cure) {
		t.Errorf("Install: %v", err)
	}
	if _, err := d.Exec(bundle.Install()); err == nil || !strings.Contains(err.Error(), cure) {
		t.Errorf("the file: %v", err)
	}
	compare(t, "functions", lines(t, d, written), before)
	d.store(t) // which it serves
	d.MustExec(update)
	if err := sessionsql.Install(t.Context(), d.DB); err != nil {
		t.Error(err)
	}
}

func TestExtensionRefusesASchemaOfSomebodyElse(t *testing.T) {
	d := newDatabase(t, "CREATE ROLE mallory LOGIN; CREATE SCHEMA sessionsql AUTHORIZATION mallory",
		"CREATE SEQUENCE public.trapped; GRANT ALL ON SEQUENCE public.trapped TO mallory")
	t.Cleanup(func() { d.MustExec("DROP OWNED BY mallory CASCADE; DROP ROLE mallory") })
	connect(t, strings.Replace(d.dsn(), "postgres@", "mallory@", 1)).MustExec(`
		CREATE FUNCTION sessionsql.version() RETURNS text LANGUAGE sql VOLATILE
		  AS $$ SELECT nextval('public.trapped')::text $$`)
	if _, err := d.Exec(create); sqlState(err) != "42501" || !strings.Contains(err.Error(), "mallory") {
		t.Errorf("CREATE EXTENSION: %v", err)
	}
	if testkit.Get[bool](t, d, "SELECT is_called FROM public.trapped") {
		t.Error("a function of the schema's owner ran")
	}
}

// dropsAll checks that nothing outlives the extension.
func (d *database) dropsAll(t *testing.T) {
	t.Helper()
	d.MustExec("DROP EXTENSION sessionsql")
	if testkit.Get[bool](t, d, "SELECT to_regnamespace('sessionsql') IS NOT NULL") {
		t.Error("DROP EXTENSION left the schema")
	}
}

func TestDropExtensionLeavesNothing(t *testing.T) {
	for _, first := range [][]string{
		{create},
		{create + " VERSION '" + old + "'", update},
		{bundle.Install(), create},
	} {
		d := newDatabase(t, first...)
		d.dropsAll(t)
		d.MustExec(create)
		d.sameAsCreated(t)
		if _, err := d.Exec(bundle.Uninstall()); sqlState(err) != "2BP01" {
			t.Errorf("uninstall.sql tore an extension apart: %v", err)
		}
	}
}

func TestDumpAndRestoreKeepSessions(t *testing.T) {
	for name, first := range map[string][]string{
		"created": {create},
		"updated": {create + " VERSION '" + old + "'", update},
		"adopted": {bundle.Install(), create},
		"roles":   {create, bundle.Roles()},
		"another's": {
			"CREATE ROLE somebody; DO $$ BEGIN " +
				"EXECUTE format('GRANT CREATE ON DATABASE %I TO somebody', current_database()); END $$",
			"SET ROLE somebody; CREATE EXTENSION sessionsql; RESET ROLE",
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDatabase(t, first...)
			var tokens []string
			for i := range 100 {
				tokens = append(tokens, d.newToken(t, fmt.Sprint("payload\t'\\\n", i)))
			}
			d.MustExec("SELECT sessionsql.rotate("+
				"sessionsql.token_id($1), sessionsql.token_hash($1), sha256('new'))", tokens[0])
			dump, err := pgschema.Dump(t.Context(), d.dsn())
			if err == pgschema.ErrNoDumper {
				t.Skip(err)
			}
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(dump, "CREATE TABLE") || strings.Contains(dump, "CREATE FUNCTION") {
				t.Error("the dump makes what CREATE EXTENSION makes")
			}
			restored := newDatabase(t)
			psql := exec.Command("psql", "-qX", "-v", "ON_ERROR_STOP=1", "-d", restored.dsn())
			psql.Stdin = strings.NewReader(dump)
			if said, err := psql.CombinedOutput(); err != nil {
				t.Fatalf("psql: %v: %s", err, said)
			}
			compare(t, "sessions", lines(t, restored, sessions), lines(t, d, sessions))
			if name == "roles" {
				restored.MustExec(bundle.Roles()) // which a dump does not hold
			}
			if name != "another's" { // whoever restores an extension owns it
				compare(t, "schema", restored.schema(t), d.schema(t))
			}
			for i, token := range tokens {
				restored.opens(t, token, fmt.Sprint("payload\t'\\\n", i))
			}
			// The next ids are new ones.
			restored.opens(t, restored.newToken(t, "after"), "after")
			count := testkit.Get[int](t, restored, "SELECT count(*) FROM sessionsql.session")
			if count != len(tokens)+1 {
				t.Errorf("%d sessions, want %d", count, len(tokens)+1)
			}
		})
	}
}
