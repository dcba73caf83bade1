-- This first file of an installation finds the steps that are due, and refuses a schema or a version that it
-- must not change. The manifest reads the answers from settings of this transaction:
--
--     sessionsql.installed    the version of the installed bundle; empty if there is none
--     sessionsql.wanted       the version of this bundle
--     sessionsql.migrated     the numbers of the migrations that ran, as an array
--     sessionsql.schema       whether the schema exists
--     sessionsql.roles        whether roles.sql has run here
--     sessionsql.settings     the settings that end.sql restores
--
-- If this version is installed, the installation ends without a lock and without a write.
DO $begin$
DECLARE
  -- scripts/generate.sh copies the version from functions/version.sql.
  wanted CONSTANT pg_catalog.text := '0.2.0';
  installed pg_catalog.text := '';
  migrated pg_catalog.text := '{}';
  owner pg_catalog.text;
  trusted pg_catalog.bool;
BEGIN
  -- From here on, no name resolves in a schema of the installing role.
  PERFORM pg_catalog.set_config(
    'sessionsql.settings',
    pg_catalog.json_object_agg(s.name, pg_catalog.current_setting(s.name))::pg_catalog.text,
    true
  )
  FROM pg_catalog.unnest(
    ARRAY['search_path', 'lock_timeout', 'deadlock_timeout', 'client_min_messages']
  ) AS s (name);
  PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
  PERFORM set_config('sessionsql.wanted', wanted, true);

  FOR attempt IN 1 .. 2 LOOP
    -- The installation runs functions of the schema, and its owner may have put any code into them.
    SELECT
      r.rolname,
      r.rolsuper OR r.rolname IN (current_user, 'sessionsql_owner')
    INTO owner, trusted
    FROM pg_namespace AS n
    JOIN pg_roles AS r ON r.oid = n.nspowner
    WHERE n.nspname = 'sessionsql';
    IF NOT trusted THEN
      RAISE insufficient_privilege USING
        MESSAGE = format(
          'sessionsql: the schema sessionsql belongs to role %I, whose code must not run here', owner
        ),
        HINT = 'Drop the schema, or install as its owner.';
    END IF;

    IF to_regprocedure('sessionsql.version()') IS NOT NULL THEN
      installed := sessionsql.version();
    END IF;
    EXIT WHEN installed = wanted OR attempt = 2;

    -- Concurrent installations wait for each other, because they would fail on a catalog conflict. After the
    -- wait, this one looks again.
    PERFORM pg_advisory_xact_lock(hashtextextended('sessionsql', 0));
  END LOOP;

  IF string_to_array(installed, '.')::integer[] > string_to_array(wanted, '.')::integer[] THEN
    RAISE object_not_in_prerequisite_state USING
      MESSAGE = format(
        'sessionsql: bundle %s is installed, which is newer than %s: nothing was changed', installed, wanted
      ),
      HINT = 'An installation never replaces a newer bundle with an older one.';
  END IF;
  -- An extension's own script alone changes its objects. While it runs, the catalog names the new version.
  IF installed <> wanted AND EXISTS (
    SELECT FROM pg_extension AS e WHERE e.extname = 'sessionsql' AND e.extversion <> wanted
  ) THEN
    RAISE dependent_objects_still_exist USING
      MESSAGE = format(
        'sessionsql: bundle %s is installed as an extension, which %s cannot replace: nothing was changed; '
        'run ALTER EXTENSION sessionsql UPDATE instead', installed, wanted
      ),
      HINT = 'The files of the newer extension must be on the server first: make install.';
  END IF;
  IF to_regclass('sessionsql.migration') IS NOT NULL THEN
    SELECT array_agg(m.id)::text INTO migrated FROM sessionsql.migration AS m;
    IF migrated IS NULL THEN
      RAISE invalid_schema_definition USING
        MESSAGE = 'sessionsql: the schema sessionsql lacks rows of its own: nothing was changed',
        HINT = 'Restore a dump with rows, or drop the schema and install again.';
    END IF;
  END IF;

  IF installed <> wanted THEN
    -- An ALTER TABLE waits for readers of the table, and all others wait behind it. So the installation gives
    -- up after a moment, and its caller tries again.
    PERFORM set_config('lock_timeout', '250ms', true);
    -- An autovacuum yields only to a lock request that has waited for deadlock_timeout.
    IF has_parameter_privilege('deadlock_timeout', 'SET') THEN
      PERFORM set_config('deadlock_timeout', '100ms', true);
    END IF;
    -- The notices of IF EXISTS help nobody.
    PERFORM set_config('client_min_messages', 'warning', true);
  END IF;
  PERFORM set_config('sessionsql.installed', installed, true);
  PERFORM set_config('sessionsql.migrated', migrated, true);
  PERFORM set_config('sessionsql.schema', (owner IS NOT NULL)::text, true);
  PERFORM set_config('sessionsql.roles', COALESCE(owner = 'sessionsql_owner', false)::text, true);
END
$begin$;

-- Outside a transaction those settings are gone by now, and half an installation is worse than none.
DO $begin$
BEGIN
  IF COALESCE(pg_catalog.current_setting('sessionsql.wanted', true), '') OPERATOR(pg_catalog.=) '' THEN
    RAISE EXCEPTION USING MESSAGE = 'sessionsql: an installation must run in one transaction: psql -1';
  END IF;
END
$begin$;
