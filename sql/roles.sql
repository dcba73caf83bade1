-- Least privilege, optional: roles that may do one thing each, in place of an application that owns the
-- tables.
--
--     psql -1 -v ON_ERROR_STOP=1 -f sql/install.sql -f sql/roles.sql
--
-- Run it as often as you like. From then on install.sql ends with this file: an upgrade puts each function
-- back to what its own file says, which would shut everybody out. It needs what install.sql needs, and the
-- right to create roles (CREATEROLE) the first time; no superuser. Whoever runs it without being superuser
-- becomes a member of sessionsql_owner, and stays one so as to run the next upgrade.
--
--     role                 may
--     sessionsql_owner     own the schema and all in it; nobody logs in as it
--     sessionsql_app       do what a Store does: new, find, keep alive, write, rotate, end, reap.
--                          What returns a session wants the hash of its secret; no table can be read.
--     sessionsql_support   list a subject's sessions, and log a subject out
--     sessionsql_reader    find sessions: lookup and its kin, for programs that only read
--     sessionsql_reaper    reap
--     sessionsql_monitor   see health and the reaper's last call, no session
--
-- The roles cannot log in; give them to those who can: GRANT sessionsql_app TO web. list_subject is the one
-- function that tells who is logged in to whoever knows a name and no secret, so sessionsql_app does not have
-- it: a program that shows its users their sessions (Go's ListSubject) is given sessionsql_support besides.
-- revoke_subject tells a number, and no app can do without it at a change of password.
--
-- Roles belong to the whole cluster of databases and not to one; uninstall.sql leaves them. When no database
-- has the bundle any more: DROP ROLE sessionsql_app, sessionsql_support, sessionsql_reader,
-- sessionsql_reaper, sessionsql_monitor, sessionsql_owner.
--
-- The cost. A caller who cannot read the table needs SECURITY DEFINER, and that ends the inlining of lookups.
-- Lone ones a second against the inlined one's, pgbench, prepared, 1 client and 8, medians of 7 interleaved
-- runs of 2 s:
--
--                               PostgreSQL 15    PostgreSQL 18
--     SQL, definer              0.61  0.44       0.93  0.87
--     PL/pgSQL, definer         0.86  0.73       0.88  0.77
--
-- Before 18 a SQL function that is not inlined is planned at each call. So there lookup and lookup_batch
-- become PL/pgSQL, around the very statement that install.sql has put into the catalog: it stands once, in
-- functions/. A batch of 24 then runs at 0.91 and 0.80 of the inlined one's rate on 15 (medians of 5).

-- The lock is that of an installation; the settings are saved for the end of this file.
DO $roles$
BEGIN
  PERFORM pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('sessionsql', 0));
  PERFORM pg_catalog.set_config('sessionsql.roles_path', pg_catalog.current_setting('search_path'), true);
  PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
  -- Bodies are copied out of the catalog below, and are to be as they stand in functions/.
  PERFORM pg_catalog.set_config(
    'sessionsql.roles_quoting', pg_catalog.current_setting('quote_all_identifiers'), true
  );
  PERFORM pg_catalog.set_config('quote_all_identifiers', 'off', true);
END
$roles$;

-- Outside of a transaction those settings are forgotten by now, and half of this file is worse than none.
DO $roles$
BEGIN
  IF pg_catalog.current_setting('search_path') OPERATOR(pg_catalog.<>) 'pg_catalog, pg_temp' THEN
    RAISE EXCEPTION USING MESSAGE = 'sessionsql: roles.sql must run in one transaction: psql -1';
  END IF;
END
$roles$;

DO $roles$
DECLARE
  new_role text;
  may_set boolean := true;
BEGIN
  FOREACH new_role IN ARRAY ARRAY[
    'sessionsql_owner',
    'sessionsql_app',
    'sessionsql_support',
    'sessionsql_reader',
    'sessionsql_reaper',
    'sessionsql_monitor'
  ] LOOP
    IF NOT EXISTS (SELECT FROM pg_roles AS r WHERE r.rolname = new_role) THEN
      BEGIN
        EXECUTE format('CREATE ROLE %I NOLOGIN', new_role);
      EXCEPTION WHEN duplicate_object OR unique_violation THEN
        NULL; -- this file runs in another database of the cluster as well
      END;
    END IF;
  END LOOP;

  -- To give away what is one's own, one has to be a member of whom it is given to. From 16 on, the creator of
  -- a role may make itself a member, and has to.
  IF NOT (SELECT r.rolsuper FROM pg_roles AS r WHERE r.rolname = current_user) THEN
    IF current_setting('server_version_num')::integer >= 160000 THEN
      may_set := pg_has_role('sessionsql_owner', 'SET');
    END IF;
    IF NOT (may_set AND pg_has_role('sessionsql_owner', 'USAGE')) THEN
      GRANT sessionsql_owner TO CURRENT_USER;
    END IF;
  END IF;
END
$roles$;

-- What is the owner's already is left alone: a change of owner locks the table against everybody.
DO $roles$
DECLARE
  change text;
BEGIN
  FOR change IN
    SELECT 'ALTER SCHEMA sessionsql OWNER TO sessionsql_owner'
    FROM pg_namespace AS n
    WHERE n.nspname = 'sessionsql'
      AND n.nspowner <> 'sessionsql_owner'::regrole
    UNION ALL
    SELECT format(
      'ALTER %s %s OWNER TO sessionsql_owner',
      CASE c.relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END,
      c.oid::regclass
    )
    FROM pg_class AS c
    WHERE c.relnamespace = 'sessionsql'::regnamespace
      AND c.relkind IN ('r', 'p', 'v')
      AND c.relowner <> 'sessionsql_owner'::regrole
    UNION ALL
    SELECT format('ALTER DOMAIN %s OWNER TO sessionsql_owner', t.oid::regtype)
    FROM pg_type AS t
    WHERE t.typnamespace = 'sessionsql'::regnamespace
      AND t.typtype = 'd'
      AND t.typowner <> 'sessionsql_owner'::regrole
    UNION ALL
    SELECT format('ALTER ROUTINE %s OWNER TO sessionsql_owner', p.oid::regprocedure)
    FROM pg_proc AS p
    WHERE p.pronamespace = 'sessionsql'::regnamespace
      AND p.proowner <> 'sessionsql_owner'::regrole
  LOOP
    EXECUTE change;
  END LOOP;
END
$roles$;

-- What reads or writes a table does so as its owner. The bodies are safe in strangers' hands: each function
-- has its search_path set, or is BEGIN ATOMIC, whose names were bound when it was created, or (insert)
-- qualifies all it names. The others stay as they are: they call these.
ALTER FUNCTION sessionsql.insert SECURITY DEFINER;
ALTER FUNCTION sessionsql.insert_batch SECURITY DEFINER;
ALTER FUNCTION sessionsql.lookup SECURITY DEFINER;
ALTER FUNCTION sessionsql.lookup_batch SECURITY DEFINER;
ALTER FUNCTION sessionsql.touch_batch SECURITY DEFINER;
ALTER FUNCTION sessionsql.update_payload SECURITY DEFINER;
ALTER FUNCTION sessionsql.update_payload_batch SECURITY DEFINER;
ALTER FUNCTION sessionsql.rotate SECURITY DEFINER;
ALTER FUNCTION sessionsql.revoke SECURITY DEFINER;
ALTER FUNCTION sessionsql.revoke_listed SECURITY DEFINER;
ALTER FUNCTION sessionsql.revoke_subject SECURITY DEFINER;
ALTER FUNCTION sessionsql.list_subject SECURITY DEFINER;
ALTER FUNCTION sessionsql.use_session SECURITY DEFINER;
ALTER FUNCTION sessionsql.list_sessions SECURITY DEFINER;
ALTER FUNCTION sessionsql.reap SECURITY DEFINER;
ALTER FUNCTION sessionsql.note_timeline SECURITY DEFINER;

-- See the cost, above.
DO $roles$
DECLARE
  f record;
BEGIN
  IF current_setting('server_version_num')::integer >= 180000 THEN
    RETURN;
  END IF;
  FOR f IN
    SELECT
      p.proname,
      p.prorows,
      p.procost,
      pg_get_function_arguments(p.oid) AS arguments,
      pg_get_function_result(p.oid) AS result,
      substring(
        pg_get_function_sqlbody(p.oid)
        FROM '^BEGIN ATOMIC[^A-Z]+(SELECT[^;]*;)[^A-Z]*END$'
      ) AS statement
    FROM pg_proc AS p
    WHERE p.oid IN ('sessionsql.lookup'::regproc, 'sessionsql.lookup_batch'::regproc)
      AND p.prosqlbody IS NOT NULL
  LOOP
    IF f.statement IS NULL THEN
      RAISE EXCEPTION USING
        MESSAGE = format('sessionsql: roles.sql: the body of %s is not one SELECT', f.proname);
    END IF;
    EXECUTE format(
      'CREATE OR REPLACE FUNCTION sessionsql.%I(%s) RETURNS %s'
      ' LANGUAGE plpgsql STABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY DEFINER COST %s ROWS %s'
      ' SET search_path = pg_catalog, pg_temp AS %L',
      f.proname, f.arguments, f.result, f.procost, f.prorows, 'BEGIN RETURN QUERY ' || f.statement || ' END'
    );
  END LOOP;
END
$roles$;

-- From here on: exactly what stands below, whatever was granted to these roles before.
REVOKE ALL ON ALL TABLES IN SCHEMA sessionsql
  FROM sessionsql_app, sessionsql_support, sessionsql_reader, sessionsql_reaper, sessionsql_monitor;
REVOKE ALL ON ALL ROUTINES IN SCHEMA sessionsql
  FROM sessionsql_app, sessionsql_support, sessionsql_reader, sessionsql_reaper, sessionsql_monitor;

-- To name what is in it; USAGE alone shows nothing.
GRANT USAGE ON SCHEMA sessionsql
  TO sessionsql_app, sessionsql_support, sessionsql_reader, sessionsql_reaper, sessionsql_monitor;

-- Every client asks at its start whom it talks to.
GRANT EXECUTE ON FUNCTION sessionsql.version
  TO sessionsql_app, sessionsql_support, sessionsql_reader, sessionsql_reaper, sessionsql_monitor;
GRANT SELECT ON TABLE sessionsql.node
  TO sessionsql_app, sessionsql_support, sessionsql_reader, sessionsql_reaper, sessionsql_monitor;

-- What takes a secret's hash, or a token. The verbs by token call the others as the caller, after token_id
-- and token_hash.
GRANT EXECUTE ON FUNCTION
  sessionsql.lookup, sessionsql.lookup_batch, sessionsql.find_session, sessionsql.token_id,
  sessionsql.token_hash, sessionsql.list_sessions
  TO sessionsql_app, sessionsql_reader;
GRANT EXECUTE ON FUNCTION
  sessionsql.insert, sessionsql.insert_batch, sessionsql.update_payload, sessionsql.update_payload_batch,
  sessionsql.rotate, sessionsql.revoke, sessionsql.revoke_listed,
  sessionsql.new_session(text, interval, interval, text, boolean, bigint, text),
  sessionsql.new_session(text, double precision, double precision, text, boolean, bigint, text),
  sessionsql.new_session(text, text, text, text, boolean, bigint, text),
  sessionsql.renew_session(text, text, interval, bigint),
  sessionsql.renew_session(text, text, double precision, bigint),
  sessionsql.renew_session(text, text, text, bigint),
  sessionsql.new_secret, sessionsql.token_from, sessionsql.use_session, sessionsql.save_session,
  sessionsql.end_session, sessionsql.end_listed_session
  TO sessionsql_app;

-- Ids alone, but sliding an expiry shows nothing and opens nothing.
GRANT EXECUTE ON FUNCTION sessionsql.touch_batch TO sessionsql_app;

-- A Store does it after a failover; it takes nothing and shows nothing.
GRANT EXECUTE ON FUNCTION sessionsql.note_timeline TO sessionsql_app;

-- A Store reaps by itself; sessionsql_reaper is for a scheduler.
GRANT EXECUTE ON ROUTINE sessionsql.reap, sessionsql.reap_all TO sessionsql_app, sessionsql_reaper;

-- A change of password logs the user out elsewhere.
GRANT EXECUTE ON FUNCTION sessionsql.revoke_subject TO sessionsql_app, sessionsql_support;

-- Who is logged in, for a name and no secret: not the app's.
GRANT EXECUTE ON FUNCTION sessionsql.list_subject TO sessionsql_support;

-- Numbers about the table. Give the monitor pg_read_all_stats too, which only a superuser or its admin can:
-- without it oldest_xmin_age leaves out other roles' transactions.
GRANT SELECT ON TABLE sessionsql.health, sessionsql.last_reap TO sessionsql_monitor;

DO $roles$
BEGIN
  PERFORM pg_catalog.set_config(
    'quote_all_identifiers', pg_catalog.current_setting('sessionsql.roles_quoting'), true
  );
  PERFORM pg_catalog.set_config('search_path', pg_catalog.current_setting('sessionsql.roles_path'), true);
END
$roles$;
