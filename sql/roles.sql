-- This file is optional. Each of its roles may do one job, so that an application need not own the tables:
--
--     psql -1 -v ON_ERROR_STOP=1 -f sql/install.sql -f sql/roles.sql
--
-- You can run it again at any time. From then on install.sql ends with this file, because an upgrade resets
-- each function to the attributes in its own file, which would shut every role out. It needs the privileges
-- that install.sql needs and, the first time, CREATEROLE, but no superuser. A role that runs it without being
-- superuser becomes a member of sessionsql_owner, and stays one for the next upgrade.
--
--     role                 may
--     sessionsql_owner     own the schema and all objects in it; nobody logs in as it
--     sessionsql_app       do all that a Store does: insert, look up, touch, update, rotate, revoke, reap,
--                          and everything with cache entries. A session is returned only for the hash of its
--                          secret, and an entry for its key; no table can be read.
--     sessionsql_support   list the sessions of a subject, and revoke them
--     sessionsql_reader    look sessions and cache entries up, for programs that only read
--     sessionsql_reaper    reap
--     sessionsql_monitor   see health and the reaper's last call, but no session and no entry
--
-- The roles cannot log in, so grant them to roles that can, as in GRANT sessionsql_app TO web. list_subject
-- alone shows the sessions of a subject to a caller without a secret, so sessionsql_app does not get it. A
-- program that shows its users their sessions (Go's ListSubject) gets sessionsql_support as well.
-- revoke_subject returns only a number, and every application needs it for a change of password.
--
-- Roles belong to the whole cluster and not to one database, so uninstall.sql leaves them. Once no database
-- has the bundle: DROP ROLE sessionsql_app, sessionsql_support, sessionsql_reader, sessionsql_reaper,
-- sessionsql_monitor, sessionsql_owner.
--
-- A caller who cannot read the table needs SECURITY DEFINER, and that ends the inlining of lookups. Before
-- PostgreSQL 18, each call of a SQL function that is not inlined plans it anew, so lookup, lookup_batch,
-- lookup_near and cache_get_batch become PL/pgSQL there. The statement inside is copied from the catalog, so
-- it is written only in functions/.

-- This takes the lock of an installation and saves the settings that the end of this file restores.
DO $roles$
BEGIN
  PERFORM pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('sessionsql', 0));
  PERFORM pg_catalog.set_config('sessionsql.roles_path', pg_catalog.current_setting('search_path'), true);
  PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
  -- Bodies are copied from the catalog below, with names as they stand in functions/.
  PERFORM pg_catalog.set_config(
    'sessionsql.roles_quoting', pg_catalog.current_setting('quote_all_identifiers'), true
  );
  PERFORM pg_catalog.set_config('quote_all_identifiers', 'off', true);
END
$roles$;

-- Outside a transaction those settings are gone by now, and half of this file is worse than none.
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
        NULL; -- this file runs in another database of the cluster at the same time
      END;
    END IF;
  END LOOP;

  -- Only a member of the new owner may change an owner to it. From 16 on, the creator of a role has to make
  -- itself a member.
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

-- Objects that the owner has already are left alone, because a change of owner locks everybody out of a
-- table.
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

-- These functions read or write a table, so they run as its owner. No caller can redirect their names,
-- because each function has its search_path set, or is BEGIN ATOMIC with names bound at creation, or (insert)
-- qualifies all names. The other functions only call these.
ALTER FUNCTION sessionsql.insert SECURITY DEFINER;
ALTER FUNCTION sessionsql.insert_batch SECURITY DEFINER;
ALTER FUNCTION sessionsql.lookup SECURITY DEFINER;
ALTER FUNCTION sessionsql.lookup_batch SECURITY DEFINER;
ALTER FUNCTION sessionsql.lookup_near SECURITY DEFINER;
ALTER FUNCTION sessionsql.touch_batch SECURITY DEFINER;
ALTER FUNCTION sessionsql.update_payload SECURITY DEFINER;
ALTER FUNCTION sessionsql.update_payload_batch SECURITY DEFINER;
ALTER FUNCTION sessionsql.rotate SECURITY DEFINER;
ALTER FUNCTION sessionsql.revoke SECURITY DEFINER;
ALTER FUNCTION sessionsql.revoke_batch SECURITY DEFINER;
ALTER FUNCTION sessionsql.revoke_listed SECURITY DEFINER;
ALTER FUNCTION sessionsql.revoke_listed_of SECURITY DEFINER;
ALTER FUNCTION sessionsql.revoke_subject SECURITY DEFINER;
ALTER FUNCTION sessionsql.list_subject SECURITY DEFINER;
ALTER FUNCTION sessionsql.use_session SECURITY DEFINER;
ALTER FUNCTION sessionsql.list_sessions SECURITY DEFINER;
ALTER FUNCTION sessionsql.reap SECURITY DEFINER;
ALTER FUNCTION sessionsql.note_timeline SECURITY DEFINER;
ALTER FUNCTION sessionsql.changes SECURITY DEFINER;
ALTER FUNCTION sessionsql.shards SECURITY DEFINER;
ALTER FUNCTION sessionsql.cache_get_batch SECURITY DEFINER;
ALTER FUNCTION sessionsql.cache_set_batch SECURITY DEFINER;
ALTER FUNCTION sessionsql.cache_touch_batch SECURITY DEFINER;
ALTER FUNCTION sessionsql.cache_delete_batch SECURITY DEFINER;
ALTER FUNCTION sessionsql.cache_add SECURITY DEFINER;
ALTER FUNCTION sessionsql.cache_swap SECURITY DEFINER;
ALTER FUNCTION sessionsql.cache_increment_by_key SECURITY DEFINER;
ALTER FUNCTION sessionsql.cache_fetch_lease_by_key SECURITY DEFINER;
ALTER FUNCTION sessionsql.cache_list SECURITY DEFINER;
ALTER FUNCTION sessionsql.cache_len SECURITY DEFINER;
ALTER FUNCTION sessionsql.cache_clear SECURITY DEFINER;
ALTER FUNCTION sessionsql.cache_reap SECURITY DEFINER;

-- Before 18, lookups become PL/pgSQL, for the reason at the head of this file.
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
    WHERE p.oid IN (
        'sessionsql.lookup'::regproc,
        'sessionsql.lookup_batch'::regproc,
        'sessionsql.lookup_near'::regproc,
        'sessionsql.cache_get_batch'::regproc
      )
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

-- The roles get exactly the privileges below, so all earlier privileges go first.
REVOKE ALL ON ALL TABLES IN SCHEMA sessionsql
  FROM sessionsql_app, sessionsql_support, sessionsql_reader, sessionsql_reaper, sessionsql_monitor;
REVOKE ALL ON ALL ROUTINES IN SCHEMA sessionsql
  FROM sessionsql_app, sessionsql_support, sessionsql_reader, sessionsql_reaper, sessionsql_monitor;

-- A role needs USAGE to name an object of the schema; USAGE alone shows nothing.
GRANT USAGE ON SCHEMA sessionsql
  TO sessionsql_app, sessionsql_support, sessionsql_reader, sessionsql_reaper, sessionsql_monitor;

-- Every client asks for the bundle's version and the server's state at its start.
GRANT EXECUTE ON FUNCTION sessionsql.version
  TO sessionsql_app, sessionsql_support, sessionsql_reader, sessionsql_reaper, sessionsql_monitor;
GRANT SELECT ON TABLE sessionsql.node
  TO sessionsql_app, sessionsql_support, sessionsql_reader, sessionsql_reaper, sessionsql_monitor;

-- These functions need a secret's hash or a token. Most that take a token run with the caller's privileges,
-- so the caller needs token_id, token_hash and the functions by hash as well.
GRANT EXECUTE ON FUNCTION
  sessionsql.lookup, sessionsql.lookup_batch, sessionsql.lookup_near, sessionsql.find_session,
  sessionsql.token_id, sessionsql.token_hash, sessionsql.list_sessions
  TO sessionsql_app, sessionsql_reader;
GRANT EXECUTE ON FUNCTION
  sessionsql.insert, sessionsql.insert_batch, sessionsql.update_payload, sessionsql.update_payload_batch,
  sessionsql.rotate, sessionsql.revoke, sessionsql.revoke_batch, sessionsql.revoke_listed,
  sessionsql.new_session(text, interval, interval, text, boolean, bigint, text),
  sessionsql.new_session(text, double precision, double precision, text, boolean, bigint, text),
  sessionsql.new_session(text, text, text, text, boolean, bigint, text),
  sessionsql.renew_session(text, text, interval, bigint),
  sessionsql.renew_session(text, text, double precision, bigint),
  sessionsql.renew_session(text, text, text, bigint),
  sessionsql.new_secret, sessionsql.token_from, sessionsql.use_session, sessionsql.save_session,
  sessionsql.end_session, sessionsql.end_listed_session
  TO sessionsql_app;

-- changes shows ids without hashes, and an id opens nothing. A program that only reads keeps sessions too.
GRANT EXECUTE ON FUNCTION sessionsql.changes TO sessionsql_app, sessionsql_reader;

-- Functions by text run with the caller's privileges, so the caller needs the functions by key as well.
GRANT EXECUTE ON FUNCTION
  sessionsql.cache_get_batch, sessionsql.cache_get, sessionsql.cache_space_id,
  sessionsql.cache_key(text, bytea), sessionsql.cache_key(text, text)
  TO sessionsql_app, sessionsql_reader;
-- cache_list shows only spaces whose user keeps the keys in order to list them, so the app gets it.
GRANT EXECUTE ON FUNCTION
  sessionsql.cache_set_batch, sessionsql.cache_touch_batch, sessionsql.cache_delete_batch,
  sessionsql.cache_add, sessionsql.cache_swap, sessionsql.cache_increment_by_key,
  sessionsql.cache_fetch_lease_by_key, sessionsql.cache_list, sessionsql.cache_len, sessionsql.cache_clear,
  sessionsql.cache_set, sessionsql.cache_touch, sessionsql.cache_delete, sessionsql.cache_increment,
  sessionsql.cache_fetch_lease, sessionsql.cache_lease_key, sessionsql.cache_end_lease
  TO sessionsql_app;

-- touch_batch takes ids without hashes, but a touch shows nothing and opens nothing.
GRANT EXECUTE ON FUNCTION sessionsql.touch_batch TO sessionsql_app;

-- A Store calls note_timeline after a failover. The function takes nothing and shows nothing.
GRANT EXECUTE ON FUNCTION sessionsql.note_timeline TO sessionsql_app;

-- A Store reaps by itself; sessionsql_reaper is for a scheduler.
GRANT EXECUTE ON ROUTINE sessionsql.reap, sessionsql.cache_reap, sessionsql.reap_all
  TO sessionsql_app, sessionsql_reaper;

-- A change of password revokes the user's other sessions. A router revokes one of them by revoke_listed_of.
GRANT EXECUTE ON FUNCTION sessionsql.revoke_subject, sessionsql.revoke_listed_of
  TO sessionsql_app, sessionsql_support;

-- The user of a router asks each shard after a call to all of them. The function shows a number.
GRANT EXECUTE ON FUNCTION sessionsql.shards TO sessionsql_app, sessionsql_support;

-- list_subject shows a subject's sessions to a caller without a secret, so the app does not get it.
GRANT EXECUTE ON FUNCTION sessionsql.list_subject TO sessionsql_support;

-- These views show numbers about the table. Give the monitor pg_read_all_stats too, which takes a superuser
-- or that role's admin, because oldest_xmin_age otherwise leaves out transactions of other roles.
GRANT SELECT ON TABLE sessionsql.health, sessionsql.last_reap, sessionsql.last_cache_reap
  TO sessionsql_monitor;

DO $roles$
BEGIN
  PERFORM pg_catalog.set_config(
    'quote_all_identifiers', pg_catalog.current_setting('sessionsql.roles_quoting'), true
  );
  PERFORM pg_catalog.set_config('search_path', pg_catalog.current_setting('sessionsql.roles_path'), true);
END
$roles$;
