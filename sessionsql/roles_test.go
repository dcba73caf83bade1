package sessionsql_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jmoiron/sqlx"

	"github.com/sessionsql/postgres/internal/sessiontest"
	"github.com/sessionsql/postgres/sessionsql"
	bundle "github.com/sessionsql/postgres/sql"
)

// asUser returns a DSN for another user, with more parameters.
func asUser(t testing.TB, dsn, user string, parameters ...string) string {
	t.Helper()
	parsed, err := url.Parse(dsn)
	must(t, err)
	if user != "" {
		parsed.User = url.User(user)
	}
	query := parsed.Query()
	for i := 0; i < len(parameters); i += 2 {
		query.Set(parameters[i], parameters[i+1])
	}
	parsed.RawQuery = query.Encode()
	return parsed.String()
}

// installRoles does the same as psql -1 -f install.sql -f roles.sql.
func installRoles(t testing.TB, pool *sqlx.DB) {
	t.Helper()
	tx, err := pool.Beginx()
	must(t, err)
	defer func() { _ = tx.Rollback() }()
	tx.MustExec(bundle.Install())
	tx.MustExec(bundle.Roles())
	must(t, tx.Commit())
}

// login makes a user with the given roles, and returns its name. The name holds the database's name, because
// users belong to the cluster.
func (d *database) login(t testing.TB, roles ...string) string {
	t.Helper()
	name := fmt.Sprintf("%s_%d", d.Name, users.Add(1))
	d.primary.MustExec("CREATE ROLE " + name + " LOGIN")
	for _, role := range roles {
		d.primary.MustExec("GRANT " + role + " TO " + name)
	}
	d.CatchUp(t)
	return name
}

func sqlState(err error) string {
	var server *pgconn.PgError
	var own *sessionsql.Error
	switch {
	case errors.As(err, &server):
		return server.Code
	case errors.As(err, &own):
		return own.SQLState
	}
	return ""
}

// useEverything makes every call of a Store except ListSubject, batches included.
func useEverything(t *testing.T, store *sessionsql.Store) {
	t.Helper()
	ctx := t.Context()
	tokens := make([]sessionsql.Token, 200)
	var wait sync.WaitGroup
	for i := range tokens {
		wait.Go(func() {
			token, err := store.Insert(ctx, fmt.Sprint("p", i),
				&sessionsql.InsertOptions{Subject: "all", Lifetime: time.Hour})
			if err != nil {
				t.Errorf("Insert: %v", err)
				return
			}
			tokens[i] = token
			if sess, err := store.Lookup(ctx, token); err != nil || sess.Payload != fmt.Sprint("p", i) {
				t.Errorf("Lookup: %q, %v", sess.Payload, err)
			}
			if version, err := store.Update(ctx, token, fmt.Sprint("p", i), 1); err != nil || version != 2 {
				t.Errorf("Update: %d, %v", version, err)
			}
		})
	}
	wait.Wait()
	if t.Failed() {
		return
	}

	one := &sessionsql.InsertOptions{Subject: "one", MaxSessions: 1}
	evicted := mustInsert(t, store, "first", one)
	token := mustInsert(t, store, "second", one)
	if _, err := store.Lookup(ctx, evicted); !errors.Is(err, sessionsql.ErrNoSession) {
		t.Errorf("evicted: %v", err)
	}
	if version, err := store.Update(ctx, token, "third", 1); err != nil || version != 2 {
		t.Errorf("Update: %d, %v", version, err)
	}
	if _, err := store.Update(ctx, token, "lost", 1); !errors.Is(err, sessionsql.ErrConflict) {
		t.Errorf("Update of an old version: %v", err)
	}
	token = mustRotate(t, store, token, &sessionsql.RotateOptions{Subject: "two"})
	if sess, err := store.Lookup(ctx, token); err != nil || sess.Payload != "third" || sess.Subject != "two" {
		t.Errorf("after Rotate: %v, %v", sess, err)
	}
	must(t, store.Flush(ctx))
	must(t, store.Revoke(ctx, token))
	if _, err := store.Lookup(ctx, token); !errors.Is(err, sessionsql.ErrNoSession) {
		t.Errorf("after Revoke: %v", err)
	}
	if n, err := store.RevokeSubject(ctx, "all", tokens[0]); err != nil || n != int64(len(tokens)-1) {
		t.Errorf("RevokeSubject: %d, %v", n, err)
	}
	must(t, store.Revoke(ctx, tokens[0]))
	mustReap(t, store)
	_, err := store.Version(ctx)
	must(t, err)
	useCache(t, store)
}

func TestAppRoleDoesAllThatAStoreDoes(t *testing.T) {
	d := newDatabase(t)
	installRoles(t, d.primary)
	app, reader := d.login(t, "sessionsql_app"), d.login(t, "sessionsql_reader")

	primary, replicas := asUser(t, d.PrimaryDSN(), app), []string{asUser(t, d.ReplicaDSNs()[0], reader)}
	store := sessiontest.OpenStore(t, primary, replicas, &sessionsql.Options{
		FlushInterval: 5 * time.Millisecond, ReapInterval: 5 * time.Millisecond,
	})
	defer closeStore(t, store)
	eventually(t, "the replica is read from", func() bool { return store.Stats().Replicas[0].Usable })
	useEverything(t, store)

	// The reader may only read, and that only from a replica.
	token := mustInsert(t, store, "p", &sessionsql.InsertOptions{Subject: "who"})
	d.CatchUp(t)
	reads := store.Stats().ReplicaReads
	eventually(t, "the replica answers", func() bool {
		must(t, store.Touch(t.Context(), token))
		return store.Stats().ReplicaReads > reads
	})

	d.fill(t, 10, "-1 minute")
	eventually(t, "the reaper has been here", func() bool { return store.Stats().Reaped >= 10 })
	if stats := store.Stats(); stats.FlushErrors != 0 || stats.ReapErrors != 0 {
		t.Errorf("a flush or a reap failed: %+v", stats)
	}

	// The app may list sessions only with sessionsql_support.
	if _, err := store.ListSubject(t.Context(), "who", ""); sqlState(err) != "42501" {
		t.Errorf("ListSubject: %v", err)
	}
	d.primary.MustExec("GRANT sessionsql_support TO " + app)
	if list, err := store.ListSubject(t.Context(), "who", ""); err != nil || len(list) != 1 {
		t.Errorf("ListSubject with sessionsql_support: %v, %v", list, err)
	}
}

// granted is everything that roles.sql grants.
var granted = map[string][]string{
	"sessionsql_app": {
		"cache_add", "cache_clear", "cache_delete", "cache_delete_batch", "cache_end_lease",
		"cache_fetch_lease", "cache_fetch_lease_by_key", "cache_get", "cache_get_batch", "cache_increment",
		"cache_increment_by_key", "cache_key", "cache_key", "cache_lease_key", "cache_len", "cache_list",
		"cache_reap", "cache_set", "cache_set_batch", "cache_space_id", "cache_swap", "cache_touch",
		"cache_touch_batch", "changes", "end_listed_session", "end_session", "find_session", "insert",
		"insert_batch", "list_sessions", "lookup", "lookup_batch", "lookup_near",
		"new_secret", "new_session", "new_session", "new_session", "node",
		"note_timeline", "reap", "reap_all", "renew_session", "renew_session", "renew_session", "revoke",
		"revoke_batch", "revoke_listed", "revoke_listed_of", "revoke_subject", "rotate", "save_session",
		"shards", "token_from", "token_hash", "token_id", "touch_batch", "update_payload",
		"update_payload_batch", "use_session", "version",
	},
	"sessionsql_support": {"list_subject", "node", "revoke_listed_of", "revoke_subject", "shards", "version"},
	"sessionsql_reader": {
		"cache_get", "cache_get_batch", "cache_key", "cache_key", "cache_space_id", "changes",
		"find_session", "list_sessions", "lookup", "lookup_batch", "lookup_near", "node", "token_hash",
		"token_id", "version",
	},
	"sessionsql_reaper":  {"cache_reap", "node", "reap", "reap_all", "version"},
	"sessionsql_monitor": {"health", "last_cache_reap", "last_reap", "node", "version"},
	"nobody":             nil,
}

func TestRolesMayNothingElse(t *testing.T) {
	d := newDatabase(t)
	installRoles(t, d.primary)
	// Another run of roles.sql takes back grants that an operator made by mistake.
	d.primary.MustExec("GRANT SELECT ON sessionsql.session TO sessionsql_app")
	d.primary.MustExec("GRANT EXECUTE ON FUNCTION sessionsql.reap TO sessionsql_reader")
	installRoles(t, d.primary)

	for role, want := range granted {
		var roles []string
		if role != "nobody" {
			roles = []string{role}
		}
		user := d.login(t, roles...)
		var has []string
		must(t, d.primary.Select(&has, `
			SELECT p.proname FROM pg_proc AS p
			WHERE p.pronamespace = 'sessionsql'::regnamespace AND has_function_privilege($1, p.oid, 'EXECUTE')
			UNION ALL
			SELECT c.relname FROM pg_class AS c
			WHERE c.relnamespace = 'sessionsql'::regnamespace AND c.relkind IN ('r', 'v')
			  AND has_any_column_privilege($1, c.oid, 'SELECT')
			UNION ALL
			SELECT 'may write ' || c.relname FROM pg_class AS c
			WHERE c.relnamespace = 'sessionsql'::regnamespace AND c.relkind IN ('r', 'v')
			  AND has_table_privilege($1, c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
			UNION ALL
			SELECT 'may use ' || c.relname FROM pg_class AS c
			WHERE c.relnamespace = 'sessionsql'::regnamespace
			  AND CASE c.relkind WHEN 'S' THEN has_sequence_privilege($1, c.oid, 'USAGE, SELECT, UPDATE') END
			UNION ALL
			SELECT 'may create' WHERE has_schema_privilege($1, 'sessionsql', 'CREATE')
			ORDER BY 1`, user))
		if !slices.Equal(has, want) {
			t.Errorf("%s may use %v, want %v", role, has, want)
		}

		// The server refuses each attempt to use more.
		pool := open(t, asUser(t, d.PrimaryDSN(), user))
		for _, attempt := range []string{
			"TABLE sessionsql.session", "TABLE sessionsql.live_session", "TABLE sessionsql.subject_session",
			"TABLE sessionsql.listed_session", "TABLE sessionsql.reaper",
			"TABLE sessionsql.cache_entry", "TABLE sessionsql.cache_live", "TABLE sessionsql.cache_listed",
			"TABLE sessionsql.cache_space",
			"DELETE FROM sessionsql.session", "ALTER FUNCTION sessionsql.version() VOLATILE",
			`CREATE FUNCTION sessionsql.lookup(id integer, secret_hash bytea) RETURNS text
				LANGUAGE sql RETURN 'x'`,
			"SET ROLE sessionsql_owner",
		} {
			if _, err := pool.Exec(attempt); sqlState(err) != "42501" {
				t.Errorf("%s: %s: %v", role, attempt, err)
			}
		}
	}
}

func TestEverythingIsTheOwners(t *testing.T) {
	d := newDatabase(t)
	installRoles(t, d.primary)
	var others []string
	must(t, d.primary.Select(&others, `
		SELECT p.oid::regprocedure::text FROM pg_proc AS p
		WHERE p.pronamespace = 'sessionsql'::regnamespace AND p.proowner <> 'sessionsql_owner'::regrole
		UNION ALL
		SELECT c.oid::regclass::text FROM pg_class AS c
		WHERE c.relnamespace = 'sessionsql'::regnamespace AND c.relowner <> 'sessionsql_owner'::regrole
		UNION ALL
		SELECT t.oid::regtype::text FROM pg_type AS t
		WHERE t.typnamespace = 'sessionsql'::regnamespace AND t.typowner <> 'sessionsql_owner'::regrole
		UNION ALL
		SELECT n.nspname FROM pg_namespace AS n
		WHERE n.nspname = 'sessionsql' AND n.nspowner <> 'sessionsql_owner'::regrole`))
	if len(others) > 0 {
		t.Errorf("objects that sessionsql_owner does not own: %v", others)
	}
}

// A SECURITY DEFINER function would give its owner's rights to the caller, if the caller could redirect a
// name in it. insert and reap_all qualify every name, as the attack below proves; any other function needs
// BEGIN ATOMIC or a fixed search_path.
func TestDefinersResolveNoNameByTheCallersPath(t *testing.T) {
	d := newDatabase(t)
	installRoles(t, d.primary)
	var open []string
	must(t, d.primary.Select(&open, `
		SELECT p.oid::regprocedure::text FROM pg_proc AS p
		WHERE p.pronamespace = 'sessionsql'::regnamespace
		  AND p.prosqlbody IS NULL
		  AND p.proname NOT IN ('insert', 'reap_all')
		  AND NOT COALESCE('search_path=pg_catalog, pg_temp' = ANY (p.proconfig), false)`))
	if len(open) > 0 {
		t.Errorf("functions without BEGIN ATOMIC and without SET search_path: %v", open)
	}
}

// appStore installs the roles and opens a Store as a user of the application's role.
func (d *database) appStore(t *testing.T) (store *sessionsql.Store, user string) {
	t.Helper()
	installRoles(t, d.primary)
	user = d.login(t, "sessionsql_app")
	return sessiontest.OpenStore(t, asUser(t, d.PrimaryDSN(), user), nil, nil), user
}

func TestUpgradeKeepsTheRoles(t *testing.T) {
	d := newDatabase(t)
	store, app := d.appStore(t)
	defer closeStore(t, store)
	token := mustInsert(t, store, "p", nil)

	d.pretendOlder()
	err := sessionsql.Install(t.Context(), open(t, asUser(t, d.PrimaryDSN(), app)))
	if sqlState(err) != "42501" {
		t.Errorf("installing as the app: %v", err)
	}
	must(t, sessionsql.Install(t.Context(), d.primary))
	must(t, store.Touch(t.Context(), token))
	n := get[int](t, d.primary, `
		SELECT count(*) FROM pg_proc AS p
		WHERE p.pronamespace = 'sessionsql'::regnamespace
		  AND p.proname IN ('lookup', 'insert') AND p.prosecdef`)
	if n != 2 {
		t.Errorf("%d functions run as their owner, want 2", n)
	}
}

func TestUpgradeWithRolesUnderLoadDisturbsNobody(t *testing.T) {
	d := newDatabase(t)
	store, _ := d.appStore(t)
	defer closeStore(t, store)
	underLoad(t, store, func() {
		for range 5 {
			d.pretendOlder()
			must(t, sessionsql.Install(t.Context(), d.primary))
		}
	})
}

func TestRolesNeedNoSuperuser(t *testing.T) {
	d := emptyDatabaseIn(t, ownCluster(t, 0)) // no other test has made the roles there
	d.primary.MustExec("CREATE ROLE installer LOGIN CREATEROLE")
	d.primary.MustExec("GRANT CREATE ON DATABASE " + d.Name + " TO installer")
	installer := open(t, asUser(t, d.PrimaryDSN(), "installer"))
	for range 2 {
		installRoles(t, installer)
	}
	installer.MustExec("CREATE ROLE web LOGIN; GRANT sessionsql_app TO web")
	store := sessiontest.OpenStore(t, asUser(t, d.PrimaryDSN(), "web"), nil, nil)
	useEverything(t, store)

	// The installer can also upgrade and uninstall.
	d.pretendOlder()
	must(t, sessionsql.Install(t.Context(), installer))
	useEverything(t, store)
	closeStore(t, store)
	installer.MustExec(bundle.Uninstall())
	installer.MustExec(`DROP ROLE sessionsql_app, sessionsql_support, sessionsql_reader, sessionsql_reaper,
		sessionsql_monitor, sessionsql_owner`)
}

// Databases of one cluster share its roles and may install them at once.
func TestRolesInstallInManyDatabasesAtOnce(t *testing.T) {
	cluster := ownCluster(t, 0)
	var wait sync.WaitGroup
	for range 4 {
		d := emptyDatabaseIn(t, cluster)
		wait.Go(func() {
			defer func() {
				if err := recover(); err != nil {
					t.Error(err)
				}
			}()
			d.primary.MustExec(bundle.Install() + bundle.Roles())
		})
	}
	wait.Wait()
}

func TestRolesRefuseToRunInPieces(t *testing.T) {
	d := newDatabase(t)
	conn := d.conn(t)
	var err error
	for statement := range strings.SplitAfterSeq(bundle.Roles(), "$roles$;\n") {
		if _, err = conn.ExecContext(t.Context(), statement); err != nil {
			break
		}
	}
	if err == nil || !strings.Contains(err.Error(), "psql -1") {
		t.Errorf("without a transaction: %v", err)
	}
}

// The traps are a schema of a hostile role: functions for all of pg_catalog's, operators for each pair of
// types, domains named after types, and views named after relations. A trap counts its call in a sequence,
// which no rollback undoes, and raises an error.
//
// A call reaches a trap in two ways. If the schema precedes pg_catalog in the path, the same signature is
// enough. If pg_catalog comes first, as it does by default, a better fitting signature wins. So there are
// operators for all pairs of types, and functions with each argument's type exchanged in turn.
const traps = `
CREATE SCHEMA evil AUTHORIZATION hostile;
GRANT USAGE ON SCHEMA evil TO PUBLIC;
SET ROLE hostile;
CREATE SEQUENCE evil.calls;
GRANT ALL ON SEQUENCE evil.calls TO PUBLIC;
CREATE FUNCTION evil.trap(what pg_catalog.text) RETURNS pg_catalog.bool LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  PERFORM pg_catalog.nextval('evil.calls');
  RAISE EXCEPTION 'captured by %', what;
END
$$;

DO $$
DECLARE
  types CONSTANT text[] := ARRAY['text', 'varchar', 'bytea', 'bool', 'int4', 'int8', 'float8', 'numeric',
    'timestamptz', 'interval', 'tid', 'xid', 'oid', 'regclass', 'uuid', 'bit', 'pg_lsn', '_text', '_bytea',
    '_int4', '_int8', '_float8', '_uuid'];
  f record;
  l text;
  r text;
  op text;
BEGIN
  FOR f IN
    WITH builtin AS (
      SELECT p.proname, COALESCE(p.proargnames, '{}') AS names, p.proargtypes::oid[] AS args, p.pronargs,
        t.typname AS result
      FROM pg_proc AS p
      JOIN pg_type AS t ON t.oid = p.prorettype
      WHERE p.pronamespace = 'pg_catalog'::regnamespace
        AND p.prokind IN ('f', 'w')
        AND NOT EXISTS (
          SELECT FROM unnest(p.proargtypes) AS a (oid)
          JOIN pg_type AS x ON x.oid = a.oid
          WHERE x.typtype = 'p' OR NOT x.typname = ANY (
            types || ARRAY['int2', 'float4', 'name', 'date', 'timestamp', 'char', 'bpchar']
          )
        )
    ), wanted AS (
      SELECT b.proname, b.names, b.args, b.result FROM builtin AS b
      UNION
      SELECT b.proname, b.names, b.args[:i - 1] || x.oid || b.args[i + 1:], b.result
      FROM builtin AS b, generate_series(1, b.pronargs) AS i, unnest(types) AS x0 (typname)
      JOIN pg_type AS x ON x.typname = x0.typname AND x.typnamespace = 'pg_catalog'::regnamespace
      WHERE b.proname = ANY (:names)
    )
    SELECT
      w.proname,
      w.result,
      (
        SELECT string_agg(
          format('%s pg_catalog.%I', CASE WHEN w.names[i] <> '' THEN quote_ident(w.names[i]) END, x.typname),
          ', ' ORDER BY i
        )
        FROM unnest(w.args::oid[]) WITH ORDINALITY AS a (oid, i)
        JOIN pg_type AS x ON x.oid = a.oid
      ) AS arguments
    FROM wanted AS w
  LOOP
    BEGIN
      EXECUTE format(
        'CREATE FUNCTION evil.%I(%s) RETURNS pg_catalog.%I LANGUAGE plpgsql AS %L',
        f.proname,
        f.arguments,
        CASE
          WHEN f.result IN ('record', 'void', 'internal', 'cstring', 'anyelement', 'anyarray') THEN 'text'
          ELSE f.result
        END,
        format('BEGIN PERFORM evil.trap(%L); END', f.proname || '()')
      );
    EXCEPTION WHEN duplicate_function OR invalid_function_definition OR feature_not_supported THEN
      NULL;
    END;
  END LOOP;
  -- A call that leaves arguments to their defaults fits one that has no others.
  CREATE FUNCTION evil.make_interval(secs pg_catalog.float8) RETURNS pg_catalog.interval
    LANGUAGE plpgsql AS 'BEGIN PERFORM evil.trap(''make_interval()''); END';

  CREATE FUNCTION evil.trap_state(state pg_catalog.int8) RETURNS pg_catalog.int8
    LANGUAGE plpgsql AS 'BEGIN PERFORM evil.trap(''an aggregate''); END';
  CREATE AGGREGATE evil.count(*) (
    SFUNC = evil.trap_state, STYPE = pg_catalog.int8, FINALFUNC = evil.trap_state, INITCOND = '0'
  );

  FOREACH l IN ARRAY types LOOP
    EXECUTE format(
      'CREATE FUNCTION evil.trap_%s(state pg_catalog.%I) RETURNS pg_catalog.%I LANGUAGE plpgsql AS %L',
      l, l, l, 'BEGIN PERFORM evil.trap(''an aggregate''); END');
    EXECUTE format(
      'CREATE FUNCTION evil.trap_%s(state pg_catalog.%I, value pg_catalog.%I) RETURNS pg_catalog.%I '
        || 'LANGUAGE plpgsql AS %L',
      l, l, l, l, 'BEGIN PERFORM evil.trap(''an aggregate''); END');
    FOREACH op IN ARRAY ARRAY['min', 'max', 'sum'] LOOP
      EXECUTE format(
        'CREATE AGGREGATE evil.%I(pg_catalog.%I) '
          || '(SFUNC = evil.trap_%s, STYPE = pg_catalog.%I, FINALFUNC = evil.trap_%s)',
        op, l, l, l, l);
    END LOOP;

    EXECUTE format(
      'CREATE FUNCTION evil.prefix(pg_catalog.%I) RETURNS pg_catalog.%I LANGUAGE plpgsql AS %L', l, l,
      format('BEGIN PERFORM evil.trap(%L); END', '- ' || l));
    EXECUTE format('CREATE OPERATOR evil.- (FUNCTION = evil.prefix, RIGHTARG = pg_catalog.%I)', l);

    FOREACH r IN ARRAY types LOOP
      EXECUTE format(
        'CREATE FUNCTION evil.compare(pg_catalog.%I, pg_catalog.%I) RETURNS pg_catalog.bool '
          || 'LANGUAGE plpgsql AS %L', l, r,
        format('BEGIN PERFORM evil.trap(%L); END', l || ' compared to ' || r));
      FOREACH op IN ARRAY ARRAY['=', '<>', '<', '<=', '>', '>=', '~', '~~'] LOOP
        EXECUTE format(
          'CREATE OPERATOR evil.%s '
            || '(FUNCTION = evil.compare, LEFTARG = pg_catalog.%I, RIGHTARG = pg_catalog.%I)', op, l, r);
      END LOOP;
      EXECUTE format(
        'CREATE FUNCTION evil.combine(pg_catalog.%I, pg_catalog.%I) RETURNS pg_catalog.%I '
          || 'LANGUAGE plpgsql AS %L', l, r, l,
        format('BEGIN PERFORM evil.trap(%L); END', l || ' combined with ' || r));
      FOREACH op IN ARRAY ARRAY['+', '-', '*', '/', '||'] LOOP
        EXECUTE format(
          'CREATE OPERATOR evil.%s '
            || '(FUNCTION = evil.combine, LEFTARG = pg_catalog.%I, RIGHTARG = pg_catalog.%I)', op, l, r);
      END LOOP;
    END LOOP;
  END LOOP;

  -- Domains last: from here on "text" may be one.
  FOREACH l IN ARRAY types LOOP
    CONTINUE WHEN l LIKE '\_%';
    EXECUTE format('CREATE DOMAIN evil.%I AS pg_catalog.%I CHECK (evil.trap(%L))', l, l, 'type ' || l);
  END LOOP;
END
$$;
RESET ROLE;
`

// decoys returns views with every relation name that the bundle may use, in a schema.
func (d *database) decoys(t testing.TB, schema string) string {
	t.Helper()
	var names []string
	must(t, d.primary.Select(&names, `
		SELECT DISTINCT c.relname FROM pg_class AS c
		WHERE c.relnamespace IN ('sessionsql'::regnamespace, 'pg_catalog'::regnamespace)
		  AND c.relkind IN ('r', 'v')
		  AND (c.relname !~ '^p' OR c.relname IN (
		    'pg_class', 'pg_proc', 'pg_type', 'pg_namespace', 'pg_roles', 'pg_authid', 'pg_stat_activity',
		    'pg_replication_slots', 'pg_prepared_xacts'))`))
	var text strings.Builder
	for _, name := range names {
		fmt.Fprintf(&text, "CREATE VIEW %s.%s AS SELECT evil.trap('relation %[2]s') AS id;\n", schema, name)
	}
	return text.String()
}

// identifiers returns the names that the bundle calls without a schema.
func identifiers() string {
	names := map[string]bool{}
	call := regexp.MustCompile(`(?:^|[^.\w])(\w+)\(`)
	for _, match := range call.FindAllStringSubmatch(bundle.Install()+bundle.Roles(), -1) {
		names["'"+strings.ToLower(match[1])+"'"] = true
	}
	list := make([]string, 0, len(names))
	for name := range names {
		list = append(list, name)
	}
	slices.Sort(list)
	return "ARRAY[" + strings.Join(list, ", ") + "]"
}

// A capturedCall is one call of a function of the bundle on the session that fixture makes.
type capturedCall struct {
	function, statement, want string
}

// callTemplates has at least one call of every function, and reaches all of its branches. A row has the
// function, the statement and a pattern of its answer.
var callTemplates = [][3]string{
	{"at_home", "SELECT sessionsql.at_home('$key'::pg_catalog.uuid)", "^$key$"},
	{"at_home", "SELECT sessionsql.at_home($id)", "^$id$"},
	{"begin_change_epoch", "SELECT sessionsql.begin_change_epoch()", "^$"},
	{
		"cache_add", "SELECT sessionsql.cache_add('00000000-0000-0000-0000-000000000001', 1, 'v', 60)",
		"^true$",
	},
	{"cache_add", "SELECT sessionsql.cache_add('$key', $space, 'v', 60)", "^false$"},
	{"cache_clear", "SELECT sessionsql.cache_clear($space)", "^1$"},
	{"cache_clear", "SELECT sessionsql.cache_clear($space, true)", "^1$"},
	{"cache_delete", "SELECT sessionsql.cache_delete('s', 'k')", "^true$"},
	{"cache_delete_batch", "SELECT sessionsql.cache_delete_batch('{$key}', true)", "^$key$"},
	{"cache_end_lease", "SELECT sessionsql.cache_end_lease('s', 'k', 'me')", "^false$"},
	{"cache_expiry", "SELECT sessionsql.cache_expiry(60)", "^20"},
	{"cache_expiry", "SELECT sessionsql.cache_expiry(NULL)", "^infinity$"},
	{
		"cache_fetch_lease",
		"SELECT l.leased FROM sessionsql.cache_fetch_lease('s', 'x', 'me', '1 minute', '0') AS l", "^true$",
	},
	{
		"cache_fetch_lease_by_key",
		"SELECT l.value FROM sessionsql.cache_fetch_lease_by_key('$key', '$key', 1, 'me', 60, 9999) AS l",
		"^3431$",
	},
	{"cache_get", "SELECT sessionsql.cache_get('s', 'k')", "^3431$"},
	{"cache_get_batch", "SELECT g.value FROM sessionsql.cache_get_batch('{$key}') AS g", "^3431$"},
	{"cache_get_batch", "SELECT g.expires_in FROM sessionsql.cache_get_batch('{$key}') AS g", "^1199"},
	{"cache_increment", "SELECT sessionsql.cache_increment('s', 'k', 2, '1 minute')", "^43$"},
	{"cache_increment_by_key", "SELECT sessionsql.cache_increment_by_key('$key', $space, 1, NULL)", "^42$"},
	{"cache_key", "SELECT sessionsql.cache_key('s', 'k')", "^$key$"},
	{"cache_lease_key", "SELECT sessionsql.cache_lease_key('$key')", "^[0-9a-f-]{36}$"},
	{"cache_len", "SELECT sessionsql.cache_len($space)", "^1$"},
	{"cache_list", "SELECT l.plain_key FROM sessionsql.cache_list($space, NULL, 10) AS l", "^6b$"},
	{"cache_list", "SELECT l.expires_in FROM sessionsql.cache_list($space, NULL, 10) AS l", "^1199"},
	{"cache_reap", "SELECT r.reaped FROM sessionsql.cache_reap() AS r", "^1$"},
	{
		"cache_reap", "SELECT r.evicted FROM sessionsql.cache_reap(9, 9, false, '{$space}', '{1}') AS r",
		"^1$",
	},
	{"cache_set", "SELECT sessionsql.cache_set('s', 'k', 'v', '1 minute', '1 second', true)", "^true$"},
	{"cache_set_batch", `SELECT sessionsql.cache_set_batch(
		'{$key}', '{$space}', '{v}', '{60}', '{NULL}', '{10}')`, "^no row$"},
	{"cache_space_id", "SELECT sessionsql.cache_space_id('s')", "^$space$"},
	{"cache_sum", "SELECT sessionsql.cache_sum('41', 1)", "^3432$"},
	{"cache_swap", "SELECT sessionsql.cache_swap('$key', '$value_hash', '42', 60)", "^1$"},
	{"cache_swap", "SELECT sessionsql.cache_swap('$key', '$value_hash', NULL, NULL, true)", "^1$"},
	{"cache_swap", "SELECT sessionsql.cache_swap('$key', $hash, '42', 60)", "^0$"},
	{"cache_touch", "SELECT sessionsql.cache_touch('s', 'k', '1 hour')", "^true$"},
	{"cache_touch_batch", "SELECT sessionsql.cache_touch_batch('{$key}', '{3600}')", "^1$"},
	{"cache_touch_batch", "SELECT sessionsql.cache_touch_batch('{$key}', '{NULL}')", "^1$"},
	{"check_entry", "SELECT sessionsql.check_entry('f', '$key', $space, 'v', 60)", "^$"},
	{"entry_bytes", "SELECT sessionsql.entry_bytes('abc', NULL)", "^12[0-9]$"},
	{"evict", "SELECT e.evicted FROM sessionsql.evict(0, 1, 10) AS e", "^0$"},
	{"is_ttl", "SELECT sessionsql.is_ttl(60)", "^true$"},
	{
		"sweep", `SELECT s.reaped FROM sessionsql.sweep(
			'sessionsql.cache_entry', 'key', 'sessionsql.cache_reaper', 9, 9) AS s`, "^1$",
	},
	{"tombstone_lifetime", "SELECT sessionsql.tombstone_lifetime()", "^01:00:00"},
	{"change_life", "SELECT sessionsql.change_life()", "^[0-9./]+$"},
	{"changes", "SELECT c.everything FROM sessionsql.changes(NULL) AS c", "^false$"},
	{"check_insert", "SELECT sessionsql.check_insert($hash, 'p', 60, 60, 's', 1, 'l')", "^$"},
	{"commit_asynchronously", "SELECT sessionsql.commit_asynchronously(false)", "^off$"},
	{"commit_synchronously", "SELECT sessionsql.commit_synchronously()", "^$"},
	{"deadline_after", "SELECT sessionsql.deadline_after(60)", "^20"},
	{"deadline_after", "SELECT sessionsql.deadline_after(NULL)", "^infinity$"},
	{"end_session", "SELECT sessionsql.end_session($token)", "^true$"},
	{"end_session", "SELECT sessionsql.end_session('no token')", "^false$"},
	{"elsewhere", "SELECT sessionsql.elsewhere($id)", "^SQ001$"},
	{"end_listed_session", "SELECT sessionsql.end_listed_session($token, $next)", "^true$"},
	{"end_listed_session", "SELECT sessionsql.end_listed_session('no token', $next)", "^false$"},
	{"end_excess", "SELECT sessionsql.end_excess(ARRAY[$id]::pg_catalog.int8[])", "^1$"},
	{"evict_subject", "SELECT sessionsql.evict_subject('victim', 1, $id)", "^1$"},
	{"evict_subject", "SELECT sessionsql.evict_subject('victim', 1)", "^1$"},
	{"find_session", "SELECT f.payload FROM sessionsql.find_session($token) AS f", "^mine$"},
	{"find_session", "SELECT f.expires_in FROM sessionsql.find_session($token) AS f", "^1199"},
	{"first_near_key", "SELECT sessionsql.first_near_key()", "^ffff0000-"},
	{"insert", "SELECT sessionsql.insert($other, 'p')", "^[1-9][0-9]*$"},
	{
		"insert", "SELECT sessionsql.insert($other, 'p', '1 minute', '1 hour', 'victim', false, 1, 'l')",
		"^[1-9][0-9]*$",
	},
	{"insert_batch", `SELECT i.id
		FROM sessionsql.insert_batch('{"\\x$hex"}', '{p}', '{60}', '{60}', '{s}') AS i`, "^[1-9][0-9]*$"},
	{
		"insert_needs_check", "SELECT sessionsql.insert_needs_check($hash, 'p', 60, 60, 's', NULL, 'l')",
		"^false$",
	},
	{"is_home", "SELECT sessionsql.is_home('$key'::pg_catalog.uuid)", "^true$"},
	{"is_home", "SELECT sessionsql.is_home($id)", "^true$"},
	{"is_due", "SELECT sessionsql.is_due('2999-01-01', 1e12, 'infinity')", "^true$"},
	{
		"list_sessions", "SELECT l.id FROM sessionsql.list_sessions($token) AS l WHERE l.is_current",
		"^$id$",
	},
	{"list_sessions", "SELECT l.id FROM sessionsql.list_sessions('no token') AS l", "^no row$"},
	{"list_subject", "SELECT l.id FROM sessionsql.list_subject('victim') AS l LIMIT 1", "^$id$"},
	{"list_subject", "SELECT l.expires_in FROM sessionsql.list_subject('victim') AS l LIMIT 1", "^1199"},
	{"lock_excess", "SELECT sessionsql.lock_excess('victim', 1, $id)", "^.$next.$"},
	{"log_entries", "SELECT sessionsql.log_entries(ARRAY[sessionsql.first_near_key()])", "^<nil>$"},
	{"log_truncate", "TRUNCATE sessionsql.session", "^no row$"},
	{"lookup", "SELECT l.payload FROM sessionsql.lookup($id, $hash) AS l", "^mine$"},
	{"lookup", "SELECT l.expires_in FROM sessionsql.lookup($id, $hash) AS l", "^1199"},
	{"lookup", "SELECT l.expires_in FROM sessionsql.lookup($id, $other) AS l", "^no row$"},
	{
		"lookup_batch", `SELECT l.payload FROM sessionsql.lookup_batch('{$id}', '{"\\x$hex"}') AS l`,
		"^mine$",
	},
	{
		"lookup_batch", `SELECT l.expires_in FROM sessionsql.lookup_batch('{$id}', '{"\\x$hex"}') AS l`,
		"^1199",
	},
	{
		"lookup_near", `SELECT l.is_current FROM sessionsql.lookup_near('{$id}', '{"\\x$hex"}') AS l`,
		"^true$",
	},
	{"max_label_bytes", "SELECT sessionsql.max_label_bytes()", "^256$"},
	{"max_subject_bytes", "SELECT sessionsql.max_subject_bytes()", "^1024$"},
	{"max_timeout", "SELECT sessionsql.max_timeout()", "^3.15576e"},
	{
		"new_session", "SELECT sessionsql.new_session('p', '1 minute', '1 hour', 'victim', false, 1)",
		"^[A-Za-z0-9_-]{32}$",
	},
	{"new_session", "SELECT sessionsql.new_session('p', 60, 3600)", "^[A-Za-z0-9_-]{32}$"},
	{"new_session", "SELECT sessionsql.new_session('p', interval '1 minute')", "^[A-Za-z0-9_-]{32}$"},
	{"new_secret", "SELECT sessionsql.new_secret()", "^[0-9a-f]{32}$"},
	{"next_expiry", "SELECT sessionsql.next_expiry(60, '1999-12-31 12:00+00')", "^1999-12-31"},
	{"open_session", "SELECT o.payload FROM sessionsql.open_session($id, $hash) AS o", "^mine$"},
	{"open_session", "SELECT o.expires_in FROM sessionsql.open_session($id, $hash) AS o", "^1199"},
	{"note_timeline", "SELECT sessionsql.note_timeline()", "^<nil>$"},
	{"opens", "SELECT sessionsql.opens($hash, $other, $hash, 'infinity')", "^true$"},
	{"opens_at", "SELECT sessionsql.opens_at($hash, $hash, NULL, NULL, '2000-01-01')", "^true$"},
	{"opens_at", "SELECT sessionsql.opens_at($hash, $other, $hash, 'infinity', '2000-01-01')", "^true$"},
	{"purge_changes", "SELECT sessionsql.purge_changes()", "^$"},
	{"reap", "SELECT r.reaped FROM sessionsql.reap() AS r", "^2$"},
	{"reap", "SELECT r.reaped FROM sessionsql.reap(1, 1) AS r", "^1$"},
	{"reap_all", "CALL sessionsql.reap_all(1)", "^no row$"},
	{"renew_session", "SELECT sessionsql.renew_session($token, 'victim')", "^[A-Za-z0-9_-]{32}$"},
	{"renew_session", "SELECT sessionsql.renew_session($token, 'victim', '0', 1)", "^[A-Za-z0-9_-]{32}$"},
	{"renew_session", "SELECT sessionsql.renew_session($token, NULL, 0)", "^[A-Za-z0-9_-]{32}$"},
	{"renew_session", "SELECT sessionsql.renew_session('no token')", "^<nil>$"},
	{"revoke", "SELECT sessionsql.revoke($id, $hash)", "^true$"},
	{"revoke", "SELECT sessionsql.revoke($id, $other)", "^false$"},
	{"revoke_batch", `SELECT sessionsql.revoke_batch('{$id}', '{"\\x$hex"}')`, "^[0-9]+$"},
	{"revoke_batch", `SELECT sessionsql.revoke_batch('{$id}', '{"\\xab"}')`, "^no row$"},
	{"revoke_listed", "SELECT sessionsql.revoke_listed($id, $hash, $next)", "^true$"},
	{"revoke_listed", "SELECT sessionsql.revoke_listed($id, $other, $next)", "^false$"},
	{"revoke_listed_of", "SELECT sessionsql.revoke_listed_of('victim', $next)", "^true$"},
	{"revoke_listed_of", "SELECT sessionsql.revoke_listed_of('other', $next)", "^false$"},
	{"revoke_subject", "SELECT sessionsql.revoke_subject('victim')", "^2$"},
	{"revoke_subject", "SELECT sessionsql.revoke_subject('victim', $id)", "^1$"},
	{"rotate", "SELECT sessionsql.rotate($id, $hash, $other, '1 minute', 'victim')", "^true$"},
	{"rotate", "SELECT sessionsql.rotate($id, $hash, $other, '0', 'victim', 1)", "^true$"},
	{"save_session", "SELECT sessionsql.save_session($token, 'p', 1)", "^2$"},
	{"save_session", "SELECT sessionsql.save_session($token, 'p', 7)", "^0$"},
	{"save_session", "SELECT sessionsql.save_session('no token', 'p')", "^-1$"},
	{"shard", "SELECT sessionsql.shard(1, 0)", "^$"},
	{"shard_of", "SELECT sessionsql.shard_of('$key'::pg_catalog.uuid)", "^[0-9]+$"},
	{"shard_of", "SELECT sessionsql.shard_of($id)", "^[0-9]+$"},
	{"shards", "SELECT sessionsql.shards()", "^1$"},
	{"token_from", "SELECT sessionsql.token_from($id, sessionsql.new_secret())", "^[A-Za-z0-9_-]{32}$"},
	{"token_hash", "SELECT sessionsql.token_hash($token)", "^$hex$"},
	{"token_hash", "SELECT sessionsql.token_hash('no token')", "^<nil>$"},
	{"token_id", "SELECT sessionsql.token_id($token)", "^$id$"},
	{"touch_batch", "SELECT sessionsql.touch_batch('{$id,-1}')", "^1$"},
	{"update_payload", "SELECT sessionsql.update_payload($id, $hash, 'p', 1)", "^2$"},
	{"update_payload", "SELECT sessionsql.update_payload($id, $hash, 'p', 7)", "^0$"},
	{"update_payload", "SELECT sessionsql.update_payload($id, $other, 'p')", "^-1$"},
	{"update_payload_batch", `SELECT u.version
		FROM sessionsql.update_payload_batch('{$id}', '{"\\x$hex"}', '{p}', '{1}') AS u`, "^2$"},
	{"update_payload_batch", `SELECT u.id
		FROM sessionsql.update_payload_batch('{$id}', '{"\\x$hex"}', '{p}', '{7}') AS u`, "^no row$"},
	{"use_session", "SELECT u.payload FROM sessionsql.use_session($token) AS u", "^mine$"},
	{"use_session", "SELECT u.expires_in FROM sessionsql.use_session($token) AS u", "^2400.00"},
	{"use_session", "SELECT u.id FROM sessionsql.use_session('no token') AS u", "^no row$"},
	{"version", "SELECT sessionsql.version()", "^" + regexp.QuoteMeta(bundle.Version) + "$"},
}

// capturedCalls fills the templates with a session that fixture made.
func capturedCalls(id int64, secret []byte) []capturedCall {
	raw := append(binary.BigEndian.AppendUint64(nil, uint64(id)), secret...)
	token := base64.RawURLEncoding.EncodeToString(raw)
	digest := sha256.Sum256(secret)
	replace := strings.NewReplacer(
		"$id", fmt.Sprint(id), "$next", fmt.Sprint(id+1), "$token", "'"+token+"'",
		"$key", cacheKey("s", "k").String(), "$space", fmt.Sprint(cacheSpace("s")),
		"$value_hash", fmt.Sprintf(`\x%x`, sha256.Sum256([]byte("41"))),
		"$hash", fmt.Sprintf(`'\x%x'`, digest), "$other", fmt.Sprintf(`'\x%064d'`, 0),
		"$hex", fmt.Sprintf("%x", digest))
	var calls []capturedCall
	for _, row := range callTemplates {
		calls = append(calls, capturedCall{row[0], replace.Replace(row[1]), replace.Replace(row[2])})
	}
	return calls
}

// fixture leaves two live sessions of one subject and two expired ones, and a live cache entry and an expired
// one. It returns the id of the newer live session.
func (d *database) fixture(t testing.TB, secret []byte) int64 {
	t.Helper()
	d.emptyCache()
	d.primary.MustExec(`
		SELECT sessionsql.cache_set('s', 'k', '41', '20 minutes', keep_key => true);
		SELECT sessionsql.cache_set('s', 'dead', 'x', '-1 second')`)
	d.primary.MustExec("TRUNCATE sessionsql.session; UPDATE sessionsql.reaper SET next_page = 0")
	return get[int64](t, d.primary, `
		WITH made AS (
		  INSERT INTO sessionsql.session AS s (
		    expires_at, created_at, idle_seconds, version, secret_hash, subject, payload
		  )
		  VALUES (now() + '20 minutes', now(), 1800, 1, sha256($1), 'victim', 'mine'),
		    (now() + '20 minutes', now() - interval '1 minute', 1800, 1, sha256('old'), 'victim', 'old'),
		    (now() - interval '1 day', now() - interval '2 days', 1800, 1, sha256('dead'), 'ghost', 'dead'),
		    (now() - interval '1 day', now() - interval '2 days', 1800, 1, sha256('dead'), 'ghost', 'dead')
		  RETURNING s.id, s.payload
		)
		SELECT m.id FROM made AS m WHERE m.payload = 'mine'`, secret)
}

// answer returns the one value of a query as text.
func answer(pool *sqlx.DB, statement string) (string, error) {
	rows, err := pool.Query(statement)
	if err != nil {
		return "", err
	}
	defer func() { _ = rows.Close() }()
	var value any = "no row"
	for rows.Next() {
		if err := rows.Scan(&value); err != nil {
			return "", err
		}
	}
	if text, ok := value.([]byte); ok {
		return fmt.Sprintf("%x", text), rows.Err()
	}
	return fmt.Sprint(value), rows.Err()
}

func TestNoNameIsCapturedByAHostileSchema(t *testing.T) {
	for _, withRoles := range []bool{false, true} {
		t.Run(fmt.Sprintf("roles=%v", withRoles), func(t *testing.T) {
			a := newAttack(t, withRoles)
			a.installByEveryPath()
			a.wantCallOfEveryFunction()
			for _, user := range a.users() {
				for _, path := range hostilePaths {
					pool := a.victim(user, path)
					a.callEverything(pool, user, path)
					a.wantArmedTraps(pool, path)
				}
			}
			a.useStores()
		})
	}
}

// An attack is a database with the traps of a hostile role in it.
type attack struct {
	t         *testing.T
	d         *database
	withRoles bool
	hostile   string // the role
	temporary string // the statements that make the traps of a victim's own session
}

// hostilePaths are search paths that lead to the traps.
var hostilePaths = []string{
	"evil,pg_catalog", "evil,public", "pg_temp,evil,pg_catalog", "public,pg_temp,evil",
}

func newAttack(t *testing.T, withRoles bool) *attack {
	t.Helper()
	d := newDatabase(t)
	a := &attack{t: t, d: d, withRoles: withRoles, hostile: d.login(t), temporary: d.decoys(t, "pg_temp")}
	for _, name := range []string{
		"text", "varchar", "bytea", "bool", "int4", "int8", "float8", "timestamptz", "interval", "tid",
		"regclass", "bit", "uuid", "name",
	} {
		a.temporary += fmt.Sprintf(
			"CREATE DOMAIN pg_temp.%s AS pg_catalog.%[1]s CHECK (evil.trap('temporary type %[1]s'));\n", name)
	}
	decoys := d.decoys(t, "evil")
	build := strings.NewReplacer("hostile", a.hostile, ":names", identifiers()).Replace(traps)
	d.primary.MustExec(bundle.Uninstall())
	d.primary.MustExec(build + "SET ROLE " + a.hostile + ";" + decoys + "RESET ROLE;")
	return a
}

// captured returns how many calls the traps have caught.
func (a *attack) captured() int64 {
	return get[int64](a.t, a.d.primary,
		"SELECT CASE WHEN c.is_called THEN c.last_value ELSE 0 END FROM evil.calls AS c")
}

// wantNoCapture checks that the traps caught nothing during a step.
func (a *attack) wantNoCapture(step string) {
	a.t.Helper()
	if n := a.captured(); n != 0 {
		a.t.Errorf("%s: captured %d times", step, n)
		a.d.primary.MustExec("ALTER SEQUENCE evil.calls RESTART")
	}
}

// users are those whose calls are attacked. The hostile role may call the functions where roles exist.
func (a *attack) users() []string {
	if !a.withRoles {
		return []string{"postgres"}
	}
	a.d.primary.MustExec("GRANT sessionsql_app, sessionsql_support, sessionsql_monitor TO " + a.hostile)
	return []string{"postgres", a.hostile}
}

// victim opens a pool of one connection, because temporary objects belong to one session.
func (a *attack) victim(user, path string) *sqlx.DB {
	a.t.Helper()
	pool := open(a.t, asUser(a.t, a.d.PrimaryDSN(), user, "search_path", path))
	pool.SetMaxOpenConns(1)
	pool.SetMaxIdleConns(1)
	pool.MustExec(a.temporary)
	return pool
}

// installByEveryPath installs the bundle and then installs it again over itself.
func (a *attack) installByEveryPath() {
	for range 2 {
		for _, path := range hostilePaths {
			pool := a.victim("postgres", path)
			pool.MustExec(bundle.Install())
			if a.withRoles {
				pool.MustExec(bundle.Roles())
			}
			a.wantNoCapture("install by " + path)
		}
	}
	if n := get[int](a.t, a.d.primary, `
		SELECT count(*) FROM pg_depend AS d
		JOIN pg_proc AS p ON d.refclassid = 'pg_proc'::regclass AND d.refobjid = p.oid
		  AND p.pronamespace = 'evil'::regnamespace
		LEFT JOIN pg_proc AS o ON d.classid = 'pg_proc'::regclass AND d.objid = o.oid
		LEFT JOIN pg_rewrite AS w ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid
		LEFT JOIN pg_class AS c ON c.oid = w.ev_class
		WHERE COALESCE(o.pronamespace, c.relnamespace) = 'sessionsql'::regnamespace`); n != 0 {
		a.t.Errorf("%d references to the hostile schema were installed", n)
	}
}

// wantCallOfEveryFunction fails for a new function without a captured call.
func (a *attack) wantCallOfEveryFunction() {
	var functions, called []string
	must(a.t, a.d.primary.Select(&functions, `SELECT p.proname FROM pg_proc AS p
		WHERE p.pronamespace = 'sessionsql'::regnamespace ORDER BY 1`))
	for _, call := range capturedCalls(1, make([]byte, 16)) {
		called = append(called, call.function)
	}
	if slices.Sort(called); !slices.Equal(slices.Compact(called), slices.Compact(functions)) {
		a.t.Fatalf("calls for %v, functions are %v", slices.Compact(called), functions)
	}
}

// callEverything calls every function and reads every view, and checks the answers.
func (a *attack) callEverything(pool *sqlx.DB, user, path string) {
	t, d := a.t, a.d
	secret := []byte("sixteen bytes...")
	for i, call := range capturedCalls(0, secret) {
		call = capturedCalls(d.fixture(t, secret), secret)[i]
		step := fmt.Sprintf("%s, path %s: %s", user, path, call.statement)
		got, err := answer(pool, call.statement)
		if sqlState(err) == elsewhere {
			got, err = elsewhere, nil
		}
		allowed := get[bool](t, d.primary, `
			SELECT has_function_privilege($1, p.oid, 'EXECUTE') FROM pg_proc AS p
			WHERE p.pronamespace = 'sessionsql'::regnamespace AND p.proname = $2`, user, call.function)
		switch {
		case !allowed:
			if sqlState(err) != "42501" {
				t.Errorf("%s: %q, %v", step, got, err)
			}
		case err != nil || !regexp.MustCompile(call.want).MatchString(got):
			t.Errorf("%s: %q, %v, want %s", step, got, err, call.want)
		}
		a.wantNoCapture(step)
	}
	var views []string
	must(t, d.primary.Select(&views, `SELECT c.relname FROM pg_class AS c
		WHERE c.relnamespace = 'sessionsql'::regnamespace AND c.relkind = 'v'`))
	for _, view := range views {
		if _, err := pool.Exec("TABLE sessionsql." + view); err != nil && sqlState(err) != "42501" {
			t.Errorf("%s, path %s: %s: %v", user, path, view, err)
		}
		a.wantNoCapture(view)
	}
}

// wantArmedTraps shows that a statement without a guard falls into the traps.
func (a *attack) wantArmedTraps(pool *sqlx.DB, path string) {
	unguarded := []string{"SELECT 2::pg_catalog.float8 * 3"}
	if !strings.HasPrefix(path, "public") {
		unguarded = append(unguarded, "SELECT 'x'::text")
	}
	if strings.HasSuffix(path, "evil,pg_catalog") {
		unguarded = append(unguarded, "SELECT now()", "SELECT make_interval(secs => 1::pg_catalog.float8)",
			"SELECT 1 = 1", "SELECT count(*)", "SELECT max(1)")
	}
	for _, careless := range unguarded {
		if _, err := pool.Exec(careless); err == nil || !strings.Contains(err.Error(), "captured by") {
			a.t.Errorf("path %s: %s escaped the traps: %v", path, careless, err)
		}
	}
	if a.captured() == 0 {
		a.t.Error("a captured call does not advance the counter")
	}
	a.d.primary.MustExec("ALTER SEQUENCE evil.calls RESTART")
}

// useStores runs the statements of the Go package by every path.
func (a *attack) useStores() {
	users := a.users()
	for _, path := range hostilePaths {
		dsn := asUser(a.t, a.d.PrimaryDSN(), users[len(users)-1], "search_path", path)
		store := sessiontest.OpenStore(a.t, dsn, nil, nil)
		useEverything(a.t, store)
		mustList(a.t, store, "all", "")
		closeStore(a.t, store)
		a.wantNoCapture("Store, path " + path)
	}
}
