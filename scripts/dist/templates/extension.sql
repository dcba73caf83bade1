-- One script for every way to this version: a new extension, an update from an older one, and the adoption of
-- a bundle that was installed without one. scripts/dist.sh writes it.

-- From here on no name is looked up in a schema of others.
SET LOCAL search_path = pg_catalog, pg_temp;

-- The bundle's objects that are no part of the extension become one, or PostgreSQL would not let this script
-- replace them. Objects of your own in the schema stay yours.
DO $adopt$
DECLARE
  object text;
BEGIN
  -- The lock of an installation.
  PERFORM pg_advisory_xact_lock(hashtextextended('sessionsql', 0));
  FOR object IN
    WITH objects AS (
      SELECT
        'pg_namespace'::regclass AS catalog,
        n.oid,
        n.nspname AS name,
        'SCHEMA ' || n.nspname AS object
      FROM pg_namespace AS n
      WHERE n.nspname = 'sessionsql'
      UNION ALL
      SELECT
        'pg_class'::regclass,
        c.oid,
        c.relname,
        CASE c.relkind WHEN 'v' THEN 'VIEW ' ELSE 'TABLE ' END || c.oid::regclass
      FROM pg_class AS c
      WHERE c.relnamespace = to_regnamespace('sessionsql')
        AND c.relkind IN ('r', 'v')
      UNION ALL
      -- The sequence of an identity column comes with its table.
      SELECT d.classid, s.oid, c.relname, 'SEQUENCE ' || s.oid::regclass
      FROM pg_class AS c
      JOIN pg_depend AS d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid AND d.deptype = 'i'
      JOIN pg_class AS s ON d.classid = 'pg_class'::regclass AND s.oid = d.objid AND s.relkind = 'S'
      WHERE c.relnamespace = to_regnamespace('sessionsql')
      UNION ALL
      SELECT 'pg_type'::regclass, t.oid, t.typname, 'DOMAIN ' || t.oid::regtype
      FROM pg_type AS t
      WHERE t.typnamespace = to_regnamespace('sessionsql')
        AND t.typtype = 'd'
      UNION ALL
      SELECT 'pg_proc'::regclass, p.oid, p.proname, 'ROUTINE ' || p.oid::regprocedure
      FROM pg_proc AS p
      WHERE p.pronamespace = to_regnamespace('sessionsql')
    )
    SELECT o.object
    FROM objects AS o
    WHERE o.name = ANY (ARRAY[
        'sessionsql',
        {{.Objects}}
      ])
      AND NOT EXISTS (
        SELECT FROM pg_depend AS d WHERE d.classid = o.catalog AND d.objid = o.oid AND d.deptype = 'e'
      )
  LOOP
    EXECUTE 'ALTER EXTENSION sessionsql ADD ' || object;
  END LOOP;
END
$adopt$;

{{.Statement}}
-- pg_dump leaves out the rows of an extension's tables, except for these: sessions, and the number of the
-- next one. The rows of the other tables come with CREATE EXTENSION.
DO $dump$
DECLARE
  kept regclass;
BEGIN
  FOR kept IN
    SELECT c.oid
    FROM pg_extension AS e
    JOIN pg_depend AS d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'
    JOIN pg_class AS c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
    WHERE e.extname = 'sessionsql'
      AND (c.relkind = 'S' OR c.relname = ANY (ARRAY[
        {{.Tables}}
      ]))
  LOOP
    PERFORM pg_extension_config_dump(kept, '');
  END LOOP;
END
$dump$;
