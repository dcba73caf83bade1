-- The bundle in one file and one DO statement, for migration tools and for whoever has no psql. It installs
-- the bundle or upgrades an older one, in the transaction that it is run in or else in one of its own. Where
-- this version is installed it does nothing. It leaves no setting behind.
--
-- Copy it as a migration of your own: the comments that begin with a plus sign or with "migrate" let goose,
-- sql-migrate and dbmate take the statement whole. An upgrade is a new migration, with the newer file.
--
-- scripts/generate.sh writes this file from install.sql and the files that it names: change those.

-- +goose Up
-- +goose StatementBegin
-- +migrate Up
-- +migrate StatementBegin
-- migrate:up
DO $sessionsql$
DECLARE
  state pg_catalog.record;
BEGIN
EXECUTE $file$
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
$file$;
SELECT q.* INTO state FROM (
SELECT
  s.installed = '' AS fresh,
  NOT s.schema AS bare,
  s.installed <> s.wanted AS due,
  1 <> ALL (s.migrated) AS before_1,
  2 <> ALL (s.migrated) AS before_2,
  3 <> ALL (s.migrated) AS before_3,
  4 <> ALL (s.migrated) AS before_4,
  5 <> ALL (s.migrated) AS before_5,
  7 <> ALL (s.migrated) AS before_7,
  s.roles AS roles
FROM (
  SELECT
    current_setting('sessionsql.installed') AS installed,
    current_setting('sessionsql.wanted') AS wanted,
    current_setting('sessionsql.migrated')::integer[] AS migrated,
    current_setting('sessionsql.schema')::boolean AS schema,
    current_setting('sessionsql.roles')::boolean AS roles
) AS s
) AS q;
IF state.due AND NOT state.fresh AND NOT state.before_2 THEN
PERFORM pg_catalog.pg_sleep(0.25);
END IF;
IF state.due THEN
IF state.bare THEN
EXECUTE $file$
-- The schema has a file of its own, because the script of an extension must not create it.
CREATE SCHEMA sessionsql;
$file$;
END IF;
IF state.fresh THEN
EXECUTE $file$
-- sqlc takes the Go type of a parameter from the name of its domain, so the queries in sql/queries cast to
-- these domains. A bare bigint[] would link a second driver into the program of every user. The functions
-- take plain arrays and text.
CREATE DOMAIN sessionsql.id_list AS bigint[];
CREATE DOMAIN sessionsql.hash_list AS bytea[];
CREATE DOMAIN sessionsql.payload AS text;
CREATE DOMAIN sessionsql.payload_list AS text[];
CREATE DOMAIN sessionsql.seconds_list AS double precision[];
CREATE DOMAIN sessionsql.subject_list AS text[];
CREATE DOMAIN sessionsql.version_list AS integer[];
$file$;
EXECUTE $file$
-- Each write costs a whole row, so every column serves a rule, and no touch changes an index.
--
-- The table has no CHECK and no UNIQUE, and the functions refuse null before the table does, because a
-- violation prints the whole row, payload and hash included, to the client and, under any log settings, to
-- the server's log.
--
-- This is the table of 0.1.0. Later columns are in migrations/, which a fresh installation runs as well.
CREATE TABLE sessionsql.session (
  -- The id finds the row. It is never a credential, because ids are handed out again after a crash. Blocks of
  -- 100 keep concurrent inserts from queueing for the sequence. Ids grow, so new entries go to the end of the
  -- index.
  id bigint GENERATED ALWAYS AS IDENTITY (CACHE 100) PRIMARY KEY,
  -- No index has this column, because each touch would then change the index and would not be HOT.
  expires_at timestamptz NOT NULL,
  deadline timestamptz NOT NULL DEFAULT 'infinity',
  created_at timestamptz NOT NULL,
  idle_seconds double precision NOT NULL,
  version integer NOT NULL,
  secret_hash bytea NOT NULL,
  previous_hash bytea,
  previous_until timestamptz,
  subject text,
  -- JSON is stored as text too, because no query looks inside, and jsonb costs a parse on every write and
  -- read.
  payload text NOT NULL
) WITH (
  -- Each page keeps room for the next version of its rows. At 70, 100.0 % of touches are HOT and the table
  -- does not grow; at 80 99.4 % and 1 %, at 90 94.0 % and 10 %, at 100 86.6 % and 27 %. Below 70 nothing more
  -- is gained.
  fillfactor = 70,
  -- Vacuum starts at 1 % dead rows instead of 20 %, because a fifth of a session table dies within minutes.
  -- The 2000 spare a small table a vacuum at every wake-up of the launcher.
  autovacuum_vacuum_threshold = 2000,
  autovacuum_vacuum_scale_factor = 0.01,
  -- This is the server's default since 12, set here so that a cluster tuned for slow disks does not starve
  -- this table.
  autovacuum_vacuum_cost_delay = 2,
  -- Truncation needs an ACCESS EXCLUSIVE lock, whose replay on replicas cancels lookups. New sessions fill
  -- the pages at the end again within minutes.
  vacuum_truncate = off,
  -- Payloads over 2 kB live in the TOAST table and die at the same rate.
  toast.autovacuum_vacuum_threshold = 2000,
  toast.autovacuum_vacuum_scale_factor = 0.01,
  toast.autovacuum_vacuum_cost_delay = 2,
  toast.vacuum_truncate = off
);

COMMENT ON TABLE sessionsql.session IS
  'One row a session. Read it through sessionsql.lookup and sessionsql.live_session, which know what is '
  'expired.';
COMMENT ON COLUMN sessionsql.session.id IS 'Row number; never a credential.';
COMMENT ON COLUMN sessionsql.session.expires_at IS 'Dead from this instant on, whether reaped or not.';
COMMENT ON COLUMN sessionsql.session.deadline IS 'Absolute timeout; expires_at never passes it.';
COMMENT ON COLUMN sessionsql.session.created_at IS 'When the session was inserted.';
COMMENT ON COLUMN sessionsql.session.idle_seconds IS 'Idle timeout that each touch restores, in seconds.';
COMMENT ON COLUMN sessionsql.session.version IS 'Counts payload writes, from 1.';
COMMENT ON COLUMN sessionsql.session.secret_hash IS 'SHA-256 of the token''s secret.';
COMMENT ON COLUMN sessionsql.session.previous_hash IS 'SHA-256 of the secret before the last rotate.';
COMMENT ON COLUMN sessionsql.session.previous_until IS 'Until when previous_hash still opens the session.';
COMMENT ON COLUMN sessionsql.session.subject IS 'Whose session this is; null for an anonymous one.';
COMMENT ON COLUMN sessionsql.session.payload IS 'What the application keeps; opaque to this bundle.';

-- Statistics would copy hashes and payloads into pg_statistic, and no plan needs them.
ALTER TABLE sessionsql.session
  ALTER COLUMN secret_hash SET STATISTICS 0,
  ALTER COLUMN previous_hash SET STATISTICS 0,
  ALTER COLUMN payload SET STATISTICS 0;

-- lz4 compresses payloads over 2 kB where the server has it, because it takes less CPU time than pglz for
-- nearly the same disk space. The change locks everybody out for a moment, so it happens once, and never over
-- an operator's own choice.
DO $compression$
BEGIN
  IF EXISTS (
    SELECT
    FROM pg_catalog.pg_attribute AS a
    CROSS JOIN pg_catalog.pg_settings AS s
    WHERE a.attrelid OPERATOR(pg_catalog.=) 'sessionsql.session'::pg_catalog.regclass
      AND a.attname OPERATOR(pg_catalog.=) 'payload'
      AND a.attcompression OPERATOR(pg_catalog.=) ''
      AND s.name OPERATOR(pg_catalog.=) 'default_toast_compression'
      AND 'lz4' OPERATOR(pg_catalog.=) ANY (s.enumvals)
  ) THEN
    ALTER TABLE sessionsql.session ALTER COLUMN payload SET COMPRESSION lz4;
  END IF;
END
$compression$;

-- This index serves revoke_subject, list_subject and max_sessions. Anonymous sessions do not pay for it.
CREATE INDEX session_subject ON sessionsql.session (subject) WHERE subject IS NOT NULL;
$file$;
EXECUTE $file$
-- One row holds the position of the reaper's clock hand and the results of its last call and lap. The lock of
-- that row admits one reaper at a time, also behind a connection pooler.
CREATE TABLE sessionsql.reaper (
  singleton boolean PRIMARY KEY DEFAULT true,
  next_page bigint NOT NULL DEFAULT 0,
  reaped bigint NOT NULL DEFAULT 0,
  pages bigint NOT NULL DEFAULT 0,
  lap_done boolean NOT NULL DEFAULT false,
  oldest_expired timestamptz,
  last_lap_oldest_expired timestamptz,
  last_lap_ended_at timestamptz
) WITH (
  -- Each call rewrites the row. Nearly all of the page stays free, so that each rewrite is HOT and pruned in
  -- place.
  fillfactor = 10,
  -- Vacuum can wait for 100 dead rows instead of 50, because pruning keeps the table at one page.
  autovacuum_vacuum_threshold = 100,
  autovacuum_vacuum_scale_factor = 0,
  vacuum_truncate = off
);

COMMENT ON TABLE sessionsql.reaper IS 'Position of the reaper''s clock hand; one row, never more.';
COMMENT ON COLUMN sessionsql.reaper.singleton IS 'True: the key of the only row.';
COMMENT ON COLUMN sessionsql.reaper.next_page IS 'Page of sessionsql.session where the next call begins.';
COMMENT ON COLUMN sessionsql.reaper.reaped IS 'Rows that the last call deleted.';
COMMENT ON COLUMN sessionsql.reaper.pages IS 'Pages that the last call read.';
COMMENT ON COLUMN sessionsql.reaper.lap_done IS 'Whether the last call reached the end of the table.';
COMMENT ON COLUMN sessionsql.reaper.oldest_expired IS
  'Earliest expires_at met in the lap under way; null when none was expired.';
COMMENT ON COLUMN sessionsql.reaper.last_lap_oldest_expired IS
  'Earliest expires_at met in the last whole lap; null when none was expired.';
COMMENT ON COLUMN sessionsql.reaper.last_lap_ended_at IS 'When the last whole lap ended.';

INSERT INTO sessionsql.reaper (singleton) VALUES (true);
$file$;
EXECUTE $file$
-- Readers get no hash. They get the time left in seconds by the server's clock, so that no client compares a
-- timestamp with a clock of its own.
CREATE OR REPLACE VIEW sessionsql.live_session AS
SELECT
  s.id,
  s.payload,
  s.version,
  s.subject,
  date_part('epoch', s.expires_at - statement_timestamp())::double precision AS expires_in
FROM sessionsql.session AS s
WHERE s.expires_at > statement_timestamp();

COMMENT ON VIEW sessionsql.live_session IS 'A live session, without its secrets.';
COMMENT ON COLUMN sessionsql.live_session.id IS 'Row number; never a credential.';
COMMENT ON COLUMN sessionsql.live_session.payload IS 'What the application keeps.';
COMMENT ON COLUMN sessionsql.live_session.version IS 'Counts payload writes, from 1.';
COMMENT ON COLUMN sessionsql.live_session.subject IS 'Whose session this is; null for an anonymous one.';
COMMENT ON COLUMN sessionsql.live_session.expires_in IS 'Seconds left, by the server''s clock.';
$file$;
EXECUTE $file$
-- This is the row type of list_subject in 0.1.0. It stays, because a call that is under way during an upgrade
-- still returns its rows.
CREATE OR REPLACE VIEW sessionsql.subject_session AS
SELECT
  s.id,
  s.created_at,
  date_part('epoch', s.expires_at - statement_timestamp())::double precision AS expires_in
FROM sessionsql.session AS s
WHERE s.expires_at > statement_timestamp()
  AND s.subject IS NOT NULL;

COMMENT ON VIEW sessionsql.subject_session IS 'A live session of a subject, without secrets and payload.';
COMMENT ON COLUMN sessionsql.subject_session.id IS 'Row number; never a credential.';
COMMENT ON COLUMN sessionsql.subject_session.created_at IS 'When the session was inserted.';
COMMENT ON COLUMN sessionsql.subject_session.expires_in IS 'Seconds left, by the server''s clock.';
$file$;
EXECUTE $file$
-- This is the row type of insert_batch. By the hash, the caller matches ids to its sessions.
CREATE OR REPLACE VIEW sessionsql.new_session_id AS
SELECT
  s.id,
  s.secret_hash
FROM sessionsql.session AS s;

COMMENT ON VIEW sessionsql.new_session_id IS
  'A new session: its id, beside the hash that it was inserted with.';
COMMENT ON COLUMN sessionsql.new_session_id.id IS 'Row number; never a credential.';
COMMENT ON COLUMN sessionsql.new_session_id.secret_hash IS 'SHA-256 of the token''s secret, as given.';
$file$;
EXECUTE $file$
-- This is the row type of update_payload_batch.
CREATE OR REPLACE VIEW sessionsql.payload_version AS
SELECT
  s.id,
  s.version
FROM sessionsql.session AS s;

COMMENT ON VIEW sessionsql.payload_version IS
  'A session whose payload was written: its id, and the version that it has now.';
COMMENT ON COLUMN sessionsql.payload_version.id IS 'Row number; never a credential.';
COMMENT ON COLUMN sessionsql.payload_version.version IS 'Counts payload writes, from 1.';
$file$;
EXECUTE $file$
-- This is the row type of reap. It also shows the reaper's last call to sessionsql_monitor.
CREATE OR REPLACE VIEW sessionsql.last_reap AS
SELECT
  r.reaped,
  r.pages,
  r.lap_done
FROM sessionsql.reaper AS r;

COMMENT ON VIEW sessionsql.last_reap IS 'What one call of the reaper did.';
COMMENT ON COLUMN sessionsql.last_reap.reaped IS 'Expired rows deleted.';
COMMENT ON COLUMN sessionsql.last_reap.pages IS 'Pages of the table read.';
COMMENT ON COLUMN sessionsql.last_reap.lap_done IS 'Whether the call reached the end of the table.';
$file$;
END IF;
IF state.before_1 THEN
EXECUTE $file$
-- An installation reads this table, so that each file of sql/migrations runs once.
CREATE TABLE sessionsql.migration (
  id integer PRIMARY KEY,
  name text NOT NULL,
  applied_at timestamptz NOT NULL DEFAULT now()
);

COMMENT ON TABLE sessionsql.migration IS 'One row per migration that has run in this database.';
COMMENT ON COLUMN sessionsql.migration.id IS 'Number of the migration, from its file''s name.';
COMMENT ON COLUMN sessionsql.migration.name IS 'Name of the migration, from its file''s name.';
COMMENT ON COLUMN sessionsql.migration.applied_at IS 'Time at which the migration ran.';
$file$;
EXECUTE $file$
-- Users tell their sessions apart by a label. The new column locks everybody out of the table for a moment,
-- but rewrites no row.
ALTER TABLE sessionsql.session ADD COLUMN label text;

COMMENT ON COLUMN sessionsql.session.label IS
  'Name by which a user tells their sessions apart ("Firefox on Linux"); null if none was given.';

INSERT INTO sessionsql.migration (id, name) VALUES (1, 'label');
$file$;
END IF;
IF state.before_7 THEN
EXECUTE $file$
-- Programs that keep sessions in memory read here which sessions others have ended or written; see
-- functions/changes.sql. The transaction that changes a session adds a row, so the row is visible exactly
-- when the change is.
--
-- Both tables are UNLOGGED. They cost no WAL, and they are empty after a crash and on a promoted standby,
-- where ids of transactions are handed out again. So rows and epoch never outlive the numbers in them.
CREATE UNLOGGED TABLE sessionsql.change (
  xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
  ids bigint[]
) WITH (
  -- Each row is deleted within minutes, so vacuum starts as early as on the session table.
  autovacuum_vacuum_threshold = 2000,
  autovacuum_vacuum_scale_factor = 0.01,
  autovacuum_vacuum_cost_delay = 2,
  -- Truncation needs an ACCESS EXCLUSIVE lock, behind which logouts would wait.
  vacuum_truncate = off
);

COMMENT ON TABLE sessionsql.change IS 'Sessions that were ended or written in the last minutes.';
COMMENT ON COLUMN sessionsql.change.xid IS 'Transaction that changed the sessions.';
COMMENT ON COLUMN sessionsql.change.ids IS 'Ids of the changed sessions; null stands for all.';

-- A reader asks for the transactions since its last snapshot. Without an index each reader would scan all
-- rows several times a second.
CREATE INDEX change_xid ON sessionsql.change (xid);

CREATE UNLOGGED TABLE sessionsql.change_epoch (
  singleton boolean PRIMARY KEY DEFAULT true,
  epoch uuid NOT NULL DEFAULT gen_random_uuid(),
  life text NOT NULL,
  purged_before xid8 NOT NULL,
  next_purge xid8 NOT NULL,
  next_purge_noted_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (
  -- The row is rewritten once in two minutes, so any setting does; see tables/reaper.sql.
  fillfactor = 10,
  vacuum_truncate = off
);

COMMENT ON TABLE sessionsql.change_epoch IS 'Epoch of sessionsql.change; one row, or none after a crash.';
COMMENT ON COLUMN sessionsql.change_epoch.singleton IS 'True: the key of the only row.';
COMMENT ON COLUMN sessionsql.change_epoch.epoch IS 'Random name of the epoch.';
COMMENT ON COLUMN sessionsql.change_epoch.life IS 'Result of sessionsql.change_life() in this epoch.';
COMMENT ON COLUMN sessionsql.change_epoch.purged_before IS
  'Rows of earlier transactions may have been deleted.';
COMMENT ON COLUMN sessionsql.change_epoch.next_purge IS 'Rows of earlier transactions are deleted next.';
COMMENT ON COLUMN sessionsql.change_epoch.next_purge_noted_at IS 'When next_purge was noted.';
$file$;
EXECUTE $file$
-- This is the row type of changes.
CREATE OR REPLACE VIEW sessionsql.change_feed AS
SELECT
  e.epoch::text AS epoch,
  pg_current_snapshot()::text AS snapshot,
  false AS everything,
  ARRAY[]::bigint[]::sessionsql.id_list AS ids
FROM sessionsql.change_epoch AS e;

COMMENT ON VIEW sessionsql.change_feed IS 'Sessions that were ended or written since a snapshot.';
COMMENT ON COLUMN sessionsql.change_feed.epoch IS 'Name of the epoch, in which no change is lost.';
COMMENT ON COLUMN sessionsql.change_feed.snapshot IS 'Snapshot to give to the next call of changes.';
COMMENT ON COLUMN sessionsql.change_feed.everything IS 'True: any session may have changed.';
COMMENT ON COLUMN sessionsql.change_feed.ids IS 'Ids of the changed sessions, some perhaps repeated.';
$file$;
EXECUTE $file$
-- This is the row type of lookup_near.
CREATE OR REPLACE VIEW sessionsql.near_session AS
SELECT
  s.id,
  s.payload,
  s.version,
  s.subject,
  date_part('epoch', s.expires_at - statement_timestamp())::double precision AS expires_in,
  true AS is_current,
  pg_is_in_recovery() AS in_recovery
FROM sessionsql.session AS s
WHERE s.expires_at > statement_timestamp();

COMMENT ON VIEW sessionsql.near_session IS 'A live session, and whether its current secret opened it.';
COMMENT ON COLUMN sessionsql.near_session.id IS 'Row number; never a credential.';
COMMENT ON COLUMN sessionsql.near_session.payload IS 'What the application keeps.';
COMMENT ON COLUMN sessionsql.near_session.version IS 'Counts payload writes, from 1.';
COMMENT ON COLUMN sessionsql.near_session.subject IS 'Whose session this is; null for an anonymous one.';
COMMENT ON COLUMN sessionsql.near_session.expires_in IS 'Seconds left, by the server''s clock.';
COMMENT ON COLUMN sessionsql.near_session.is_current IS
  'False: the previous secret opened the session, which works only until its grace ends.';
COMMENT ON COLUMN sessionsql.near_session.in_recovery IS 'True: a standby answered, which may lag.';
$file$;
END IF;
EXECUTE $file$
-- This is the trigger that logs a TRUNCATE of the session table as a change of all sessions. It runs as its
-- owner, because a role that may truncate the table may not write the log.
CREATE OR REPLACE FUNCTION sessionsql.log_truncate()
RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY DEFINER COST 100
SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
  INSERT INTO sessionsql.change (ids) VALUES (NULL);
  RETURN NULL;
END
$function$;

COMMENT ON FUNCTION sessionsql.log_truncate() IS 'Trigger: logs a TRUNCATE as a change of all sessions.';
$file$;
IF state.before_7 THEN
EXECUTE $file$
-- TRUNCATE ends every session, and no function sees it. The trigger's lock stops the writes to the table, so
-- this migration runs in the first step of an upgrade, as migration 1 does.
CREATE TRIGGER log_truncate
  AFTER TRUNCATE ON sessionsql.session
  FOR EACH STATEMENT
  EXECUTE FUNCTION sessionsql.log_truncate();

INSERT INTO sessionsql.migration (id, name) VALUES (7, 'change');
$file$;
END IF;
IF state.before_2 THEN
EXECUTE $file$
-- list_subject now returns the label as well, in rows of views/listed_session.sql. CREATE OR REPLACE cannot
-- change a function's result, so the function of 0.1.0 makes room for its successor. It is renamed and not
-- dropped, because a call under way finds it by number; migration 5 drops it.
DO $listed$
BEGIN
  IF to_regprocedure('sessionsql.list_subject(text)') IS NOT NULL THEN
    ALTER FUNCTION sessionsql.list_subject(text) RENAME TO list_subject_before;
  END IF;
END
$listed$;

INSERT INTO sessionsql.migration (id, name) VALUES (2, 'listed');
$file$;
EXECUTE $file$
-- This is the row type of list_subject, for a page that shows users their sessions.
CREATE OR REPLACE VIEW sessionsql.listed_session AS
SELECT
  s.id,
  s.created_at,
  date_part('epoch', s.expires_at - statement_timestamp())::double precision AS expires_in,
  s.label
FROM sessionsql.session AS s
WHERE s.expires_at > statement_timestamp()
  AND s.subject IS NOT NULL;

COMMENT ON VIEW sessionsql.listed_session IS 'A live session of a subject, without secrets and payload.';
COMMENT ON COLUMN sessionsql.listed_session.id IS 'Row number; never a credential.';
COMMENT ON COLUMN sessionsql.listed_session.created_at IS 'When the session was inserted.';
COMMENT ON COLUMN sessionsql.listed_session.expires_in IS 'Seconds left, by the server''s clock.';
COMMENT ON COLUMN sessionsql.listed_session.label IS
  'Name by which a user tells their sessions apart; null if none was given.';
$file$;
END IF;
IF state.before_4 THEN
EXECUTE $file$
-- This gives an engineer at 3 a.m. and a dashboard one cheap row, without count(*) and without a lock. Query
-- it on the primary, because each server counts its own reads and writes, and a replica returns null for
-- them. Only members of pg_read_all_stats see the transactions of other roles.
CREATE OR REPLACE VIEW sessionsql.health AS
SELECT
  GREATEST(c.reltuples, 0)::bigint AS estimated_rows,
  pg_catalog.pg_table_size(c.oid)::bigint AS heap_bytes,
  pg_catalog.pg_indexes_size(c.oid)::bigint AS index_bytes,
  CASE
    WHEN NOT pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_stat_get_dead_tuples(c.oid)
  END::bigint AS dead_tuples,
  CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN COALESCE(
    pg_catalog.pg_stat_get_tuples_hot_updated(c.oid)::double precision
      / NULLIF(pg_catalog.pg_stat_get_tuples_updated(c.oid), 0),
    1
  ) END::double precision AS hot_ratio,
  CASE
    WHEN NOT pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_stat_get_last_autovacuum_time(c.oid)
  END AS last_autovacuum,
  CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN COALESCE(
    (
      SELECT max(age(h.xmin))
      FROM (
        SELECT a.backend_xmin AS xmin FROM pg_catalog.pg_stat_activity AS a
        UNION ALL
        SELECT p.xmin FROM pg_catalog.pg_replication_slots AS p
        UNION ALL
        SELECT p.catalog_xmin FROM pg_catalog.pg_replication_slots AS p
        UNION ALL
        SELECT x.transaction FROM pg_catalog.pg_prepared_xacts AS x
      ) AS h
    ),
    0
  ) END::bigint AS oldest_xmin_age,
  r.last_lap_oldest_expired AS oldest_expired,
  r.last_lap_ended_at AS last_lap_ended_at,
  age(c.relfrozenxid)::bigint AS wraparound_age
FROM pg_catalog.pg_class AS c
CROSS JOIN sessionsql.reaper AS r
WHERE c.oid = 'sessionsql.session'::regclass;

COMMENT ON VIEW sessionsql.health IS 'State of the session table in one cheap row.';
COMMENT ON COLUMN sessionsql.health.estimated_rows IS
  'Rows as of the last vacuum or analyze, expired ones included.';
COMMENT ON COLUMN sessionsql.health.heap_bytes IS 'Bytes of the table and its TOAST table.';
COMMENT ON COLUMN sessionsql.health.index_bytes IS 'Bytes of the table''s indexes.';
COMMENT ON COLUMN sessionsql.health.dead_tuples IS
  'Row versions that vacuum has yet to remove; null on a replica.';
COMMENT ON COLUMN sessionsql.health.hot_ratio IS
  'Share of updates that changed no index, 0 to 1; watch below 0.99. Null on a replica.';
COMMENT ON COLUMN sessionsql.health.last_autovacuum IS
  'End of the last autovacuum; null if there was none, and on a replica.';
COMMENT ON COLUMN sessionsql.health.oldest_xmin_age IS
  'Transactions since the oldest snapshot that holds back vacuum on this server; null on a replica.';
COMMENT ON COLUMN sessionsql.health.oldest_expired IS
  'Earliest expires_at that the reaper met in its last whole lap; null if none was expired.';
COMMENT ON COLUMN sessionsql.health.last_lap_ended_at IS
  'Time at which the reaper last ended a lap; null if never.';
COMMENT ON COLUMN sessionsql.health.wraparound_age IS 'Transactions since the table was last frozen.';
$file$;
EXECUTE $file$
-- A replica that shows a primary's note follows that primary. A client without special privileges has no
-- other way to learn that.
CREATE TABLE sessionsql.timeline (
  singleton boolean PRIMARY KEY DEFAULT true,
  noted integer NOT NULL DEFAULT 0
);

COMMENT ON TABLE sessionsql.timeline IS 'Last note of the primary''s timeline; one row, never more.';
COMMENT ON COLUMN sessionsql.timeline.singleton IS
  'True: the key of the only row.';
COMMENT ON COLUMN sessionsql.timeline.noted IS
  'Timeline, a number that each promotion raises; 0 before the first note.';

INSERT INTO sessionsql.timeline (singleton) VALUES (true);
$file$;
EXECUTE $file$
-- Clients decide by this row whether they may use the server.
--
-- A write that was acknowledged before the primary's wal_position was read is visible on every replica with
-- the same wal_position or a higher one. The primary's wal_position is its insert position, because an
-- asynchronous commit is acknowledged before its WAL is flushed. Replicas receive only flushed WAL, so a
-- replica's lag is measured against flushed_position.
CREATE OR REPLACE VIEW sessionsql.node AS
SELECT
  pg_is_in_recovery() AS in_recovery,
  (
    CASE WHEN pg_is_in_recovery()
      THEN COALESCE(pg_last_wal_replay_lsn(), '0/0'::pg_lsn)
      ELSE pg_current_wal_insert_lsn()
    END - '0/0'::pg_lsn
  )::bigint AS wal_position,
  (
    CASE WHEN pg_is_in_recovery()
      THEN COALESCE(pg_last_wal_replay_lsn(), '0/0'::pg_lsn)
      ELSE pg_current_wal_flush_lsn()
    END - '0/0'::pg_lsn
  )::bigint AS flushed_position,
  -- The first eight digits of a WAL file's name are its timeline.
  (
    CASE WHEN pg_is_in_recovery()
      THEN 0
      ELSE ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::integer
    END
  )::integer AS timeline,
  t.noted AS noted_timeline,
  (pg_control_system()).system_identifier::bigint AS system_identifier,
  date_part('epoch', pg_postmaster_start_time())::double precision AS started_at,
  date_part('epoch', clock_timestamp())::double precision AS clock
FROM sessionsql.timeline AS t;

COMMENT ON VIEW sessionsql.node IS
  'The server that answers: its role, its position in the WAL, and its clock.';
COMMENT ON COLUMN sessionsql.node.in_recovery IS 'True on a replica.';
COMMENT ON COLUMN sessionsql.node.wal_position IS 'Bytes of WAL written (primary) or replayed (replica).';
COMMENT ON COLUMN sessionsql.node.flushed_position IS 'Bytes of WAL on disk (primary) or replayed (replica).';
COMMENT ON COLUMN sessionsql.node.timeline IS 'Timeline on which a primary writes; 0 on a replica.';
COMMENT ON COLUMN sessionsql.node.noted_timeline IS 'Last noted timeline, as visible on this server.';
COMMENT ON COLUMN sessionsql.node.system_identifier IS
  'Number of the cluster, which a primary shares with all its replicas and no other server.';
COMMENT ON COLUMN sessionsql.node.started_at IS
  'Start of the server, in seconds since 1970; differs between any two servers.';
COMMENT ON COLUMN sessionsql.node.clock IS 'The server''s clock, in seconds since 1970.';
$file$;
END IF;
EXECUTE $file$
-- The limit is 100 years of 365.25 days. Go reads the limit from this file.
CREATE OR REPLACE FUNCTION sessionsql.max_timeout()
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT SECURITY INVOKER COST 1
BEGIN ATOMIC
  SELECT 3155760000::double precision;
END;

COMMENT ON FUNCTION sessionsql.max_timeout() IS 'Returns the limit of idle timeout and lifetime, in seconds.';
$file$;
EXECUTE $file$
-- An index entry must fit into a third of a page. Go reads the limit from this file.
CREATE OR REPLACE FUNCTION sessionsql.max_subject_bytes()
RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT SECURITY INVOKER COST 1
BEGIN ATOMIC
  SELECT 1024;
END;

COMMENT ON FUNCTION sessionsql.max_subject_bytes() IS 'Returns the limit of a subject, in bytes.';
$file$;
EXECUTE $file$
-- A label has room for the names of a browser, a system and a place, but not for a payload. Go reads the
-- limit from this file.
CREATE OR REPLACE FUNCTION sessionsql.max_label_bytes()
RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT SECURITY INVOKER COST 1
BEGIN ATOMIC
  SELECT 256;
END;

COMMENT ON FUNCTION sessionsql.max_label_bytes() IS 'Returns the limit of a label, in bytes.';
$file$;
EXECUTE $file$
-- A transaction that has already written keeps its durability, because the earlier write may be a logout.
--
-- The setting lasts until the transaction ends. A SET clause would end with the function, and so before the
-- commit. The body is one expression, so that the planner inlines it.
CREATE OR REPLACE FUNCTION sessionsql.commit_asynchronously(durable boolean)
RETURNS text
LANGUAGE sql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1
BEGIN ATOMIC
  SELECT CASE
    WHEN commit_asynchronously.durable IS NOT TRUE AND pg_current_xact_id_if_assigned() IS NULL
      THEN set_config('synchronous_commit', 'off', true)
  END;
END;

COMMENT ON FUNCTION sessionsql.commit_asynchronously(boolean) IS
  'Makes the commit asynchronous, unless durable or after an earlier write of the transaction.';
$file$;
EXECUTE $file$
-- A logout must survive a crash, even if the connection's default or an earlier call in the same transaction
-- has made the commit asynchronous. The default may be stronger than "on", so "on" replaces only a default of
-- "off".
--
-- A caller's own function with SET synchronous_commit undoes this setting before the commit, and nothing here
-- can prevent that.
CREATE OR REPLACE FUNCTION sessionsql.commit_synchronously()
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 10
SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
  IF current_setting('synchronous_commit') = 'off' THEN
    SET LOCAL synchronous_commit TO DEFAULT;
    IF current_setting('synchronous_commit') = 'off' THEN
      PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
  END IF;
END
$function$;

COMMENT ON FUNCTION sessionsql.commit_synchronously() IS 'Makes the commit of the transaction synchronous.';
$file$;
EXECUTE $file$
-- With idle timeout T, each use moves the expiry to now + T + T/3. The extra third lets touch_batch skip a
-- session until less than T is left, so a busy session is rewritten once every T/3 and not at every request.
--
-- The clock is clock_timestamp(), because now() is too old in a long transaction, and so is
-- statement_timestamp() in a statement that has waited for a lock. The function has no SET clause and is not
-- STRICT, so that the planner inlines it.
CREATE OR REPLACE FUNCTION sessionsql.next_expiry(idle_seconds double precision, deadline timestamptz)
RETURNS timestamptz
LANGUAGE sql VOLATILE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1
BEGIN ATOMIC
  SELECT LEAST(
    clock_timestamp() + make_interval(secs => next_expiry.idle_seconds * 4 / 3),
    next_expiry.deadline
  );
END;

COMMENT ON FUNCTION sessionsql.next_expiry(double precision, timestamptz) IS
  'Returns the expiry of a session used now: idle timeout plus a third, at most its deadline.';
$file$;
EXECUTE $file$
-- insert and insert_batch share this rule, so it is written once. The function has no SET clause and is not
-- STRICT, so that the planner inlines it.
CREATE OR REPLACE FUNCTION sessionsql.deadline_after(lifetime_seconds double precision)
RETURNS timestamptz
LANGUAGE sql VOLATILE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1
BEGIN ATOMIC
  SELECT COALESCE(
    clock_timestamp() + make_interval(secs => deadline_after.lifetime_seconds),
    'infinity'::timestamptz
  );
END;

COMMENT ON FUNCTION sessionsql.deadline_after(double precision) IS
  'Returns the deadline of a session that starts now; infinity for a null lifetime.';
$file$;
EXECUTE $file$
-- touch_batch and use_session share this rule, so it is written once. A session that expires at its deadline
-- is not due, because a touch cannot extend it. The function has no SET clause and is not STRICT, so that the
-- planner inlines it.
CREATE OR REPLACE FUNCTION sessionsql.is_due(
  expires_at timestamptz,
  idle_seconds double precision,
  deadline timestamptz
)
RETURNS boolean
LANGUAGE sql VOLATILE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1
BEGIN ATOMIC
  SELECT is_due.expires_at > clock_timestamp()
    AND is_due.expires_at < is_due.deadline
    AND is_due.expires_at < clock_timestamp() + make_interval(secs => is_due.idle_seconds);
END;

COMMENT ON FUNCTION sessionsql.is_due(timestamptz, double precision, timestamptz) IS
  'Returns whether a touch would extend a session: it is alive, with less than its idle timeout left.';
$file$;
EXECUTE $file$
-- During the grace after a rotate, the previous secret opens the session too, so that requests under way
-- succeed. Writers pass clock_timestamp(), because they may have waited for the row; readers call opens.
--
-- Hashes need no comparison in constant time, because an attacker cannot choose the bytes of the SHA-256
-- digest that is compared. The function has no SET clause and is not STRICT, so that the planner inlines it.
CREATE OR REPLACE FUNCTION sessionsql.opens_at(
  presented_hash bytea,
  secret_hash bytea,
  previous_hash bytea,
  previous_until timestamptz,
  at timestamptz
)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1
BEGIN ATOMIC
  SELECT opens_at.presented_hash = opens_at.secret_hash
    OR (opens_at.presented_hash = opens_at.previous_hash AND opens_at.previous_until > opens_at.at);
END;

COMMENT ON FUNCTION sessionsql.opens_at(bytea, bytea, bytea, timestamptz, timestamptz) IS
  'Returns whether a hash opens a session at a time: the current one, or the previous one in its grace.';
$file$;
EXECUTE $file$
-- Readers judge by the time of their statement; writers call opens_at. The function has no SET clause and is
-- not STRICT, so that the planner inlines it.
CREATE OR REPLACE FUNCTION sessionsql.opens(
  presented_hash bytea,
  secret_hash bytea,
  previous_hash bytea,
  previous_until timestamptz
)
RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1
BEGIN ATOMIC
  SELECT sessionsql.opens_at(
    opens.presented_hash, opens.secret_hash, opens.previous_hash, opens.previous_until, statement_timestamp()
  );
END;

COMMENT ON FUNCTION sessionsql.opens(bytea, bytea, bytea, timestamptz) IS
  'Returns whether a hash opens a session now: the current one, or the previous one in its grace.';
$file$;
EXECUTE $file$
-- Good input without max_sessions needs no call of check_insert, which would cost time. The body is one
-- expression, so that the planner inlines it. BEGIN ATOMIC binds its operators, so insert needs no SET
-- search_path.
CREATE OR REPLACE FUNCTION sessionsql.insert_needs_check(
  secret_hash bytea,
  payload text,
  idle_seconds double precision,
  lifetime_seconds double precision,
  subject text,
  max_sessions integer,
  label text
)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1
BEGIN ATOMIC
  SELECT (
    octet_length(insert_needs_check.secret_hash) = 32
    AND insert_needs_check.payload IS NOT NULL
    AND insert_needs_check.idle_seconds > 0 AND insert_needs_check.idle_seconds <= sessionsql.max_timeout()
    AND COALESCE(
      insert_needs_check.lifetime_seconds > 0
        AND insert_needs_check.lifetime_seconds <= sessionsql.max_timeout(),
      true
    )
    AND COALESCE(octet_length(insert_needs_check.subject) <= sessionsql.max_subject_bytes(), true)
    AND COALESCE(octet_length(insert_needs_check.label) <= sessionsql.max_label_bytes(), true)
    AND insert_needs_check.max_sessions IS NULL
  ) IS NOT TRUE;
END;

COMMENT ON FUNCTION
  sessionsql.insert_needs_check(bytea, text, double precision, double precision, text, integer, text) IS
  'Returns whether check_insert must see these values: one is bad, or max_sessions is given.';
$file$;
EXECUTE $file$
-- insert and insert_batch refuse bad input here, because a NOT NULL violation in the table would print the
-- whole row. No message repeats a value.
CREATE OR REPLACE FUNCTION sessionsql.check_insert(
  secret_hash bytea,
  payload text,
  idle_seconds double precision,
  lifetime_seconds double precision,
  subject text,
  max_sessions integer DEFAULT NULL,
  label text DEFAULT NULL
)
RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 10
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  problem text;
BEGIN
  IF check_insert.payload IS NULL THEN
    RAISE null_value_not_allowed USING MESSAGE = 'sessionsql.insert: payload must not be null';
  END IF;
  problem := CASE
    WHEN (octet_length(check_insert.secret_hash) = 32) IS NOT TRUE
      THEN 'secret_hash must be a SHA-256 hash of 32 bytes'
    WHEN (check_insert.idle_seconds > 0 AND check_insert.idle_seconds <= sessionsql.max_timeout()) IS NOT TRUE
      THEN 'idle timeout must be positive and at most 100 years'
    WHEN NOT (check_insert.lifetime_seconds > 0 AND check_insert.lifetime_seconds <= sessionsql.max_timeout())
      THEN 'lifetime must be positive and at most 100 years, or null for none'
    WHEN octet_length(check_insert.subject) > sessionsql.max_subject_bytes()
      THEN format('subject must be at most %s bytes', sessionsql.max_subject_bytes())
    WHEN octet_length(check_insert.label) > sessionsql.max_label_bytes()
      THEN format('label must be at most %s bytes', sessionsql.max_label_bytes())
    WHEN NOT (check_insert.max_sessions > 0)
      THEN 'max_sessions must be positive, or null for no cap'
    WHEN check_insert.max_sessions IS NOT NULL AND check_insert.subject IS NULL
      THEN 'max_sessions needs a subject'
  END;
  IF problem IS NOT NULL THEN
    RAISE invalid_parameter_value USING MESSAGE = 'sessionsql.insert: ' || problem;
  END IF;
END
$function$;

COMMENT ON FUNCTION
  sessionsql.check_insert(bytea, text, double precision, double precision, text, integer, text) IS
  'Raises an error that names a bad parameter of insert, but never its value.';
$file$;
EXECUTE $file$
-- This is the first step of max_sessions; end_excess is the second. keep_id is the session of this login. It
-- never counts among the oldest, even if its created_at is earlier than theirs.
--
-- Logins of one subject take turns here until their transactions end, because otherwise no login would see
-- the session of another. This needs isolation level read committed, because an older snapshot would miss the
-- sessions of the logins that this one waited for.
--
-- Rows are locked in id order, keep_id among them, so this cannot deadlock with any function of this bundle.
-- Sequential scans are off, as in end_excess.
CREATE OR REPLACE FUNCTION sessionsql.lock_excess(subject text, max_sessions integer, keep_id bigint)
RETURNS bigint[]
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1000
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $function$
DECLARE
  excess bigint[];
BEGIN
  IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
    RAISE invalid_transaction_state USING
      MESSAGE = 'sessionsql: max_sessions needs a transaction of isolation level read committed';
  END IF;
  PERFORM pg_advisory_xact_lock(hashtextextended('sessionsql:' || lock_excess.subject COLLATE "C", 0));

  SELECT array_agg(l.id) FILTER (WHERE l.id IS DISTINCT FROM lock_excess.keep_id) INTO excess
  FROM (
    SELECT s.id
    FROM sessionsql.session AS s
    WHERE s.id = ANY (
        ARRAY(
          SELECT e.id
          FROM sessionsql.session AS e
          WHERE e.subject = lock_excess.subject COLLATE "default"
            AND e.expires_at > clock_timestamp()
            AND e.id IS DISTINCT FROM lock_excess.keep_id
          ORDER BY e.created_at DESC, e.id DESC
          OFFSET lock_excess.max_sessions - num_nonnulls(lock_excess.keep_id)
        ) || lock_excess.keep_id
      )
      AND (s.id = lock_excess.keep_id OR (s.subject = lock_excess.subject COLLATE "default") IS TRUE)
    ORDER BY s.id
    FOR UPDATE OF s
  ) AS l;
  RETURN excess;
END
$function$;

COMMENT ON FUNCTION sessionsql.lock_excess(text, integer, bigint) IS
  'Locks a subject''s oldest live sessions beyond max_sessions; returns their ids, never keep_id.';
$file$;
EXECUTE $file$
-- This is the second step of max_sessions; lock_excess is the first. An eviction is a logout, so it makes the
-- commit synchronous. Without an eviction the commit may stay asynchronous.
--
-- Sequential scans are off, because a plan made for a small table would read a grown table whole.
CREATE OR REPLACE FUNCTION sessionsql.end_excess(ids bigint[])
RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1000
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $function$
DECLARE
  ended bigint;
BEGIN
  DELETE FROM sessionsql.session AS s
  WHERE s.id = ANY (end_excess.ids);

  GET DIAGNOSTICS ended = ROW_COUNT;
  IF ended > 0 THEN
    INSERT INTO sessionsql.change (ids) VALUES (end_excess.ids);
    PERFORM sessionsql.commit_synchronously();
  END IF;
  RETURN ended;
END
$function$;

COMMENT ON FUNCTION sessionsql.end_excess(bigint[]) IS
  'Evicts the sessions that lock_excess locked and returns their number.';
$file$;
EXECUTE $file$
-- insert takes both steps of max_sessions with this call. keep_id is the session that it has just made.
CREATE OR REPLACE FUNCTION sessionsql.evict_subject(
  subject text,
  max_sessions integer,
  keep_id bigint DEFAULT NULL
)
RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1000
SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
  RETURN sessionsql.end_excess(
    sessionsql.lock_excess(evict_subject.subject, evict_subject.max_sessions, evict_subject.keep_id)
  );
END
$function$;

COMMENT ON FUNCTION sessionsql.evict_subject(text, integer, bigint) IS
  'Evicts a subject''s oldest live sessions beyond max_sessions, never keep_id; returns their number.';
$file$;
EXECUTE $file$
-- The client makes the secret and sends only its SHA-256, so nothing that this server stores, logs or
-- replicates opens a session.
--
-- Promises: unless durable, the commit does not wait for the disk. A crash may then lose a session inserted
-- within the last three wal_writer_delay, always as a whole. The same holds for all later writes of the
-- transaction, and for no earlier one. A durable insert leaves the transaction as durable as it was.
--
-- With max_sessions, the same statement evicts the subject's oldest live sessions beyond that number. The
-- transaction must have isolation level read committed.
--
-- Bad input is refused before it reaches the table, whose NOT NULL errors would print the row. The language
-- is PL/pgSQL, because it caches plans. Before PostgreSQL 18, each call of a SQL function that is not inlined
-- plans it anew.
CREATE OR REPLACE FUNCTION sessionsql.insert(
  secret_hash bytea,
  payload text,
  idle_timeout interval DEFAULT '30 minutes',
  lifetime interval DEFAULT NULL,
  subject text DEFAULT NULL,
  durable boolean DEFAULT false,
  max_sessions integer DEFAULT NULL,
  label text DEFAULT NULL
)
RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
-- This function has no SET search_path, because that costs time at each call. The body is safe without it,
-- because it has no operator, every function is qualified, every type is a keyword or qualified, and the
-- functions with operators are BEGIN ATOMIC and inlined.
AS $function$
DECLARE
  idle_seconds CONSTANT double precision := pg_catalog.date_part('epoch', insert.idle_timeout);
  lifetime_seconds CONSTANT double precision := pg_catalog.date_part('epoch', insert.lifetime);
  -- An assignment is faster than PERFORM, because PL/pgSQL evaluates this expression without the executor.
  asynchronous CONSTANT pg_catalog.text := sessionsql.commit_asynchronously(insert.durable);
  deadline pg_catalog.timestamptz;
  new_id bigint;
BEGIN
  IF sessionsql.insert_needs_check(
    insert.secret_hash, insert.payload, idle_seconds, lifetime_seconds, insert.subject, insert.max_sessions,
    insert.label
  ) THEN
    PERFORM sessionsql.check_insert(
      insert.secret_hash, insert.payload, idle_seconds, lifetime_seconds, insert.subject, insert.max_sessions,
      insert.label
    );
  END IF;

  deadline := sessionsql.deadline_after(lifetime_seconds);
  INSERT INTO sessionsql.session AS s (
    expires_at, deadline, created_at, idle_seconds, version, secret_hash, subject, payload, label
  )
  VALUES (
    sessionsql.next_expiry(idle_seconds, deadline),
    deadline,
    pg_catalog.clock_timestamp(),
    idle_seconds,
    1,
    insert.secret_hash,
    insert.subject,
    insert.payload,
    insert.label
  )
  RETURNING s.id INTO new_id;

  IF insert.max_sessions IS NOT NULL THEN
    PERFORM sessionsql.evict_subject(insert.subject, insert.max_sessions, new_id);
  END IF;

  RETURN new_id;
END
$function$;

COMMENT ON FUNCTION sessionsql.insert(bytea, text, interval, interval, text, boolean, integer, text) IS
  'Inserts a session and returns its id. Commits asynchronously unless durable.';
$file$;
EXECUTE $file$
-- Concurrent callers of an application share one round trip and one commit record. Each array has one element
-- for each session.
--
-- A null element of lifetime_seconds, subjects or labels means none. One bad element fails the whole
-- statement. For the promises of durable, see insert.
CREATE OR REPLACE FUNCTION sessionsql.insert_batch(
  secret_hashes bytea[],
  payloads text[],
  idle_seconds double precision[],
  lifetime_seconds double precision[],
  subjects text[],
  durable boolean DEFAULT false,
  labels text[] DEFAULT NULL
)
RETURNS SETOF sessionsql.new_session_id
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1000 ROWS 64
SET search_path = pg_catalog, pg_temp
-- This keeps one plan for batches of any length; see lookup_batch.
SET plan_cache_mode = force_generic_plan
AS $function$
BEGIN
  IF current_setting('array_nulls') = 'off' THEN
    -- With array_nulls off, a null in the text of an array has become the word NULL, and so a subject.
    RAISE invalid_parameter_value USING
      MESSAGE = 'sessionsql.insert_batch: the setting array_nulls must be on';
  END IF;

  -- unnest pads shorter arrays with nulls. A null hash, payload or idle timeout is refused as bad input.
  PERFORM sessionsql.check_insert(n.secret_hash, n.payload, n.idle, n.lifetime, n.subject, NULL, n.label)
  FROM unnest(
    insert_batch.secret_hashes,
    insert_batch.payloads,
    insert_batch.idle_seconds,
    insert_batch.lifetime_seconds,
    insert_batch.subjects,
    insert_batch.labels
  ) AS n (secret_hash, payload, idle, lifetime, subject, label)
  WHERE sessionsql.insert_needs_check(n.secret_hash, n.payload, n.idle, n.lifetime, n.subject, NULL, n.label);

  PERFORM sessionsql.commit_asynchronously(insert_batch.durable);

  RETURN QUERY
  INSERT INTO sessionsql.session AS s (
    expires_at, deadline, created_at, idle_seconds, version, secret_hash, subject, payload, label
  )
  SELECT
    sessionsql.next_expiry(n.idle, n.deadline),
    n.deadline,
    clock_timestamp(),
    n.idle,
    1,
    n.secret_hash,
    n.subject,
    n.payload,
    n.label
  FROM (
    SELECT
      u.*,
      sessionsql.deadline_after(u.lifetime) AS deadline
    FROM unnest(
      insert_batch.secret_hashes,
      insert_batch.payloads,
      insert_batch.idle_seconds,
      insert_batch.lifetime_seconds,
      insert_batch.subjects,
      insert_batch.labels
    ) AS u (secret_hash, payload, idle, lifetime, subject, label)
  ) AS n
  RETURNING s.id, s.secret_hash;
END
$function$;

COMMENT ON FUNCTION
  sessionsql.insert_batch(bytea[], text[], double precision[], double precision[], text[], boolean, text[]) IS
  'Inserts many sessions and returns the id and hash of each. Commits asynchronously unless durable.';
$file$;
EXECUTE $file$
-- All lookups inline this query, so it is written once. roles.sql grants the lookups and not this function,
-- so it needs no SECURITY DEFINER.
CREATE OR REPLACE FUNCTION sessionsql.open_session(id bigint, secret_hash bytea)
RETURNS SETOF sessionsql.live_session
LANGUAGE sql STABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 10 ROWS 1
BEGIN ATOMIC
  SELECT
    s.id,
    s.payload,
    s.version,
    s.subject,
    date_part('epoch', s.expires_at - statement_timestamp())::double precision AS expires_in
  FROM sessionsql.session AS s
  WHERE s.id = open_session.id
    AND sessionsql.opens(open_session.secret_hash, s.secret_hash, s.previous_hash, s.previous_until)
    AND s.expires_at > statement_timestamp();
END;

COMMENT ON FUNCTION sessionsql.open_session(bigint, bytea) IS
  'Returns the live session that an id and a secret hash open, or no row; lookups inline it.';
$file$;
EXECUTE $file$
-- An unknown id, a wrong secret and an expired session yield no row, so that a caller cannot tell them apart.
--
-- The function is a pure SELECT, so it runs on a replica. It has no SECURITY DEFINER and no SET clause and is
-- not STRICT, so that the planner inlines it and a call costs no more than the bare query. BEGIN ATOMIC binds
-- every name at creation, so no search_path can redirect it.
CREATE OR REPLACE FUNCTION sessionsql.lookup(id bigint, secret_hash bytea)
RETURNS SETOF sessionsql.live_session
LANGUAGE sql STABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 10 ROWS 1
BEGIN ATOMIC
  SELECT
    o.id,
    o.payload,
    o.version,
    o.subject,
    o.expires_in
  FROM sessionsql.open_session(lookup.id, lookup.secret_hash) AS o;
END;

COMMENT ON FUNCTION sessionsql.lookup(bigint, bytea) IS
  'Returns the live session that an id and a secret hash open, or no row.';
$file$;
EXECUTE $file$
-- ids[i] goes with secret_hashes[i]. A pair that opens no session yields no row. Pass each id once, because a
-- row carries its id and not its hash.
--
-- Like lookup, this runs on a replica and is inlined. A prepared statement keeps one plan, which finds each
-- row by its id, for batches of any length and tables of any size:
--   - The arrays pass through a SELECT, which hides their lengths from the planner. Otherwise it would plan
--     each short batch anew, and planning takes longer than the batch.
--   - OFFSET 0 makes the join run row by row. Otherwise a plan made for an empty table would scan the whole
--     table until the next analyze.
CREATE OR REPLACE FUNCTION sessionsql.lookup_batch(ids bigint[], secret_hashes bytea[])
RETURNS SETOF sessionsql.live_session
LANGUAGE sql STABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100 ROWS 64
BEGIN ATOMIC
  SELECT
    o.id,
    o.payload,
    o.version,
    o.subject,
    o.expires_in
  FROM unnest((SELECT lookup_batch.ids), (SELECT lookup_batch.secret_hashes)) AS k (id, secret_hash)
  CROSS JOIN LATERAL (
    SELECT *
    FROM sessionsql.open_session(k.id, k.secret_hash)
    OFFSET 0
  ) AS o;
END;

COMMENT ON FUNCTION sessionsql.lookup_batch(bigint[], bytea[]) IS
  'Returns the live sessions that these ids and secret hashes open, in any order.';
$file$;
EXECUTE $file$
-- This is lookup_batch for a program that keeps the answers. It must not keep what a previous secret opened,
-- because nothing tells it when the grace ends, nor what a standby answered in the place of the primary. The
-- columns are in a function of its own, because a changed result of lookup_batch would break the prepared
-- statements of programs that run.
CREATE OR REPLACE FUNCTION sessionsql.lookup_near(ids bigint[], secret_hashes bytea[])
RETURNS SETOF sessionsql.near_session
LANGUAGE sql STABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100 ROWS 64
BEGIN ATOMIC
  SELECT
    o.id,
    o.payload,
    o.version,
    o.subject,
    o.expires_in,
    o.is_current,
    pg_is_in_recovery() AS in_recovery
  FROM unnest((SELECT lookup_near.ids), (SELECT lookup_near.secret_hashes)) AS k (id, secret_hash)
  CROSS JOIN LATERAL (
    SELECT
      s.id,
      s.payload,
      s.version,
      s.subject,
      date_part('epoch', s.expires_at - statement_timestamp())::double precision AS expires_in,
      s.secret_hash = k.secret_hash AS is_current
    FROM sessionsql.session AS s
    WHERE s.id = k.id
      AND sessionsql.opens(k.secret_hash, s.secret_hash, s.previous_hash, s.previous_until)
      AND s.expires_at > statement_timestamp()
    OFFSET 0
  ) AS o;
END;

COMMENT ON FUNCTION sessionsql.lookup_near(bigint[], bytea[]) IS
  'Returns the live sessions that these ids and secret hashes open, and whether they may be kept.';
$file$;
EXECUTE $file$
-- Promises: never shortens an expiry, never passes a deadline, never resurrects a session, writes no row that
-- has more than its idle timeout left, and never waits for a row, so it cannot deadlock under any plan. It
-- skips a locked row, because the holder of the lock extends the expiry itself (a touch, a payload write, a
-- rotate) or deletes the row.
--
-- It takes ids without hashes, because the caller has looked the sessions up, and a touch gives nobody
-- access. It commits asynchronously unless durable, because a crash loses only the last touches, which the
-- next touch repeats.
CREATE OR REPLACE FUNCTION sessionsql.touch_batch(ids bigint[], durable boolean DEFAULT false)
RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1000
SET search_path = pg_catalog, pg_temp
-- This keeps one plan for batches of any length; see lookup_batch.
SET plan_cache_mode = force_generic_plan
AS $function$
DECLARE
  -- An assignment is faster than PERFORM here; see insert.
  asynchronous CONSTANT text := sessionsql.commit_asynchronously(touch_batch.durable);
  touched bigint;
BEGIN
  WITH due AS MATERIALIZED (
    SELECT s.id
    FROM sessionsql.session AS s
    WHERE s.id = ANY (touch_batch.ids)
      AND sessionsql.is_due(s.expires_at, s.idle_seconds, s.deadline)
    ORDER BY s.id
    FOR NO KEY UPDATE OF s SKIP LOCKED
  )
  UPDATE sessionsql.session AS s
  SET expires_at = GREATEST(s.expires_at, sessionsql.next_expiry(s.idle_seconds, s.deadline))
  FROM due AS d
  WHERE s.id = d.id
    AND sessionsql.is_due(s.expires_at, s.idle_seconds, s.deadline);

  GET DIAGNOSTICS touched = ROW_COUNT;
  RETURN touched;
END
$function$;

COMMENT ON FUNCTION sessionsql.touch_batch(bigint[], boolean) IS
  'Touches the sessions that are due and returns their number. Commits asynchronously unless durable.';
$file$;
EXECUTE $file$
-- One result tells three outcomes apart: the new version, 1 or more; 0 (a conflict) if another writer was
-- first, so that the session has another version than expected_version; -1 if there is no such live session.
--
-- Promises: never resurrects a session. It never inserts, so a late save after a logout finds no row. The row
-- is locked before it is judged, so a session that expired during the wait stays dead. A write is a use, so
-- it extends the expiry, and a touch that skipped the locked row loses nothing.
--
-- Commits asynchronously unless durable, as insert does.
CREATE OR REPLACE FUNCTION sessionsql.update_payload(
  id bigint,
  secret_hash bytea,
  payload text,
  expected_version integer DEFAULT NULL,
  durable boolean DEFAULT false
)
RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  -- An assignment is faster than PERFORM here; see insert.
  asynchronous CONSTANT text := sessionsql.commit_asynchronously(update_payload.durable);
  locked record;
BEGIN
  IF update_payload.payload IS NULL THEN
    RAISE null_value_not_allowed USING MESSAGE = 'sessionsql.update_payload: payload must not be null';
  END IF;

  SELECT
    s.version,
    s.expires_at,
    s.secret_hash,
    s.previous_hash,
    s.previous_until
  INTO locked
  FROM sessionsql.session AS s
  WHERE s.id = update_payload.id
    AND sessionsql.opens_at(
      update_payload.secret_hash, s.secret_hash, s.previous_hash, s.previous_until, clock_timestamp()
    )
  FOR NO KEY UPDATE OF s;

  IF NOT FOUND
    OR locked.expires_at <= clock_timestamp()
    OR sessionsql.opens_at(
      update_payload.secret_hash, locked.secret_hash, locked.previous_hash, locked.previous_until,
      clock_timestamp()
    ) IS NOT TRUE
  THEN
    RETURN -1;
  ELSIF locked.version <> update_payload.expected_version THEN
    RETURN 0;
  END IF;

  UPDATE sessionsql.session AS s
  SET payload = update_payload.payload,
      version = s.version + 1,
      expires_at = GREATEST(s.expires_at, sessionsql.next_expiry(s.idle_seconds, s.deadline))
  WHERE s.id = update_payload.id;
  INSERT INTO sessionsql.change (ids) VALUES (ARRAY[update_payload.id]);
  RETURN locked.version + 1;
END
$function$;

COMMENT ON FUNCTION sessionsql.update_payload(bigint, bytea, text, integer, boolean) IS
  'Writes a payload; returns its version, 0 (conflict), -1 (gone). Commits asynchronously unless durable.';
$file$;
EXECUTE $file$
-- Concurrent callers of an application share one round trip and one commit record. Each array has one element
-- for each session; a null expected version accepts any.
--
-- A session that is not returned was not written, because it is not alive, has another version, or is locked
-- by another transaction. update_payload then gives the reason. Pass each id once, because of two writes to
-- one session either may win.
--
-- Promises: never resurrects a session, and never waits for a row, so it cannot deadlock under any plan.
-- Commits asynchronously unless durable, as insert does.
--
-- The settings leave only plans that find each row by its id, because a plan made for an empty table, or for
-- arrays of another length, would compare each row with every element.
CREATE OR REPLACE FUNCTION sessionsql.update_payload_batch(
  ids bigint[],
  secret_hashes bytea[],
  payloads text[],
  expected_versions integer[],
  durable boolean DEFAULT false
)
RETURNS SETOF sessionsql.payload_version
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1000 ROWS 64
SET search_path = pg_catalog, pg_temp
-- This keeps one plan for batches of any length; see lookup_batch.
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $function$
BEGIN
  -- A null is refused here, because a NOT NULL violation would print the row. unnest pads shorter arrays with
  -- nulls.
  IF cardinality(update_payload_batch.payloads) IS DISTINCT FROM cardinality(update_payload_batch.ids)
    OR array_position(update_payload_batch.payloads, NULL) IS NOT NULL
  THEN
    RAISE null_value_not_allowed USING
      MESSAGE = 'sessionsql.update_payload_batch: every id needs a payload that is not null';
  END IF;

  PERFORM sessionsql.commit_asynchronously(update_payload_batch.durable);

  RETURN QUERY
  WITH mine AS MATERIALIZED (
    SELECT
      s.id,
      w.secret_hash,
      w.payload,
      w.expected_version
    FROM unnest(
      update_payload_batch.ids,
      update_payload_batch.secret_hashes,
      update_payload_batch.payloads,
      update_payload_batch.expected_versions
    ) AS w (id, secret_hash, payload, expected_version)
    JOIN sessionsql.session AS s ON s.id = w.id
    WHERE sessionsql.opens_at(
        w.secret_hash, s.secret_hash, s.previous_hash, s.previous_until, clock_timestamp()
      )
      AND s.expires_at > clock_timestamp()
      AND (w.expected_version IS NULL OR s.version = w.expected_version)
    ORDER BY s.id
    FOR NO KEY UPDATE OF s SKIP LOCKED
  ), written AS (
    UPDATE sessionsql.session AS s
    SET payload = m.payload,
        version = s.version + 1,
        expires_at = GREATEST(s.expires_at, sessionsql.next_expiry(s.idle_seconds, s.deadline))
    FROM mine AS m
    WHERE s.id = m.id
      AND sessionsql.opens_at(
        m.secret_hash, s.secret_hash, s.previous_hash, s.previous_until, clock_timestamp()
      )
      AND s.expires_at > clock_timestamp()
      AND (m.expected_version IS NULL OR s.version = m.expected_version)
    RETURNING s.id, s.version
  ), logged AS (
    INSERT INTO sessionsql.change (ids)
    SELECT array_agg(w.id)
    FROM written AS w
    HAVING count(*) > 0
  )
  SELECT
    w.id,
    w.version
  FROM written AS w;
END
$function$;

COMMENT ON FUNCTION sessionsql.update_payload_batch(bigint[], bytea[], text[], integer[], boolean) IS
  'Writes many payloads and returns the new version of each. Commits asynchronously unless durable.';
$file$;
EXECUTE $file$
-- A session gets a new secret in the same row, at login, at a change of privilege, or from time to time.
-- False means that secret_hash is not the current one, or that there is no such live session.
--
-- Promises: the old secret opens the session until the grace ends, so that requests under way succeed, and
-- never after. Only the current secret can rotate. If two requests rotate at once, one wins and the other
-- gets false, and both secrets open the session until the grace ends. A second rotate within the grace ends
-- the grace of the first.
--
-- A subject turns an anonymous session into a logged-in one. Pass grace => '0' with it, because anyone who
-- knew the anonymous token would be logged in during the grace. max_sessions then evicts the subject's oldest
-- sessions, as in insert.
--
-- The row is locked before it is judged, so a session that expired during the wait stays dead. The commit is
-- synchronous, because a crash would bring the old secret back. A rotate is a use, so it extends the expiry.
CREATE OR REPLACE FUNCTION sessionsql.rotate(
  id bigint,
  secret_hash bytea,
  new_secret_hash bytea,
  grace interval DEFAULT '10 seconds',
  subject text DEFAULT NULL,
  max_sessions integer DEFAULT NULL
)
RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  -- The grace counts in seconds, because '11 mon -330 days' is zero seconds but spans days of the calendar.
  grace_seconds CONSTANT double precision := date_part('epoch', rotate.grace);
  excess bigint[];
  expiry timestamptz;
BEGIN
  IF (octet_length(rotate.new_secret_hash) = 32) IS NOT TRUE THEN
    RAISE invalid_parameter_value USING
      MESSAGE = 'sessionsql.rotate: new_secret_hash must be a SHA-256 hash of 32 bytes';
  ELSIF (grace_seconds BETWEEN 0 AND 3600) IS NOT TRUE THEN
    RAISE invalid_parameter_value USING
      MESSAGE = 'sessionsql.rotate: grace must be between 0 and 1 hour';
  ELSIF octet_length(rotate.subject) > sessionsql.max_subject_bytes() THEN
    RAISE invalid_parameter_value USING
      MESSAGE = format('sessionsql.rotate: subject must be at most %s bytes', sessionsql.max_subject_bytes());
  ELSIF NOT (rotate.max_sessions > 0) OR (rotate.max_sessions IS NOT NULL AND rotate.subject IS NULL) THEN
    RAISE invalid_parameter_value USING
      MESSAGE = 'sessionsql.rotate: max_sessions must be positive and needs a subject';
  END IF;

  PERFORM sessionsql.commit_synchronously();
  IF rotate.max_sessions IS NOT NULL THEN
    -- This also locks the session's own row, so that all locks are taken in id order.
    excess := sessionsql.lock_excess(rotate.subject, rotate.max_sessions, rotate.id);
  END IF;

  SELECT s.expires_at INTO expiry
  FROM sessionsql.session AS s
  WHERE s.id = rotate.id
    AND s.secret_hash = rotate.secret_hash
  FOR NO KEY UPDATE OF s;
  IF (expiry > clock_timestamp()) IS NOT TRUE THEN
    RETURN false;
  END IF;

  -- Without a grace no previous secret is stored, because a statement that began earlier would accept it.
  UPDATE sessionsql.session AS s
  SET secret_hash = rotate.new_secret_hash,
      previous_hash = CASE WHEN grace_seconds > 0 THEN s.secret_hash END,
      previous_until = CASE
        WHEN grace_seconds > 0 THEN clock_timestamp() + make_interval(secs => grace_seconds)
      END,
      subject = COALESCE(rotate.subject, s.subject),
      expires_at = GREATEST(s.expires_at, sessionsql.next_expiry(s.idle_seconds, s.deadline))
  WHERE s.id = rotate.id;
  INSERT INTO sessionsql.change (ids) VALUES (ARRAY[rotate.id]);

  IF excess IS NOT NULL THEN
    PERFORM sessionsql.end_excess(excess);
  END IF;
  RETURN true;
END
$function$;

COMMENT ON FUNCTION sessionsql.rotate(bigint, bytea, bytea, interval, text, integer) IS
  'Rotates the secret of a session and returns whether it did. Commits synchronously.';
$file$;
EXECUTE $file$
-- revoke is the logout of one session. Promises: once the transaction has committed, the session stays dead,
-- even after a crash, because the commit waits for the disk even if the connection's default does not. An
-- expired session is deleted too, and the result is false.
CREATE OR REPLACE FUNCTION sessionsql.revoke(id bigint, secret_hash bytea)
RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  locked record;
BEGIN
  PERFORM sessionsql.commit_synchronously();

  -- The row is locked before it is judged, because the grace of an old secret may end during the wait.
  SELECT
    s.expires_at,
    s.secret_hash,
    s.previous_hash,
    s.previous_until
  INTO locked
  FROM sessionsql.session AS s
  WHERE s.id = revoke.id
    AND sessionsql.opens_at(
      revoke.secret_hash, s.secret_hash, s.previous_hash, s.previous_until, clock_timestamp()
    )
  FOR UPDATE OF s;
  IF NOT FOUND
    OR sessionsql.opens_at(
      revoke.secret_hash, locked.secret_hash, locked.previous_hash, locked.previous_until, clock_timestamp()
    ) IS NOT TRUE
  THEN
    RETURN false;
  END IF;

  DELETE FROM sessionsql.session AS s
  WHERE s.id = revoke.id;
  INSERT INTO sessionsql.change (ids) VALUES (ARRAY[revoke.id]);
  RETURN locked.expires_at > clock_timestamp();
END
$function$;

COMMENT ON FUNCTION sessionsql.revoke(bigint, bytea) IS
  'Revokes a session and returns whether it was alive. Commits synchronously.';
$file$;
EXECUTE $file$
-- A user ends one session out of their list (OWASP ASVS 5.0, 7.5.2). The caller presents a live session of
-- the same subject, because an id alone proves nothing.
--
-- Promises the same as revoke. The listed row is locked before the presented session is judged, so a
-- presented session that was revoked during the wait ends no other.
CREATE OR REPLACE FUNCTION sessionsql.revoke_listed(id bigint, secret_hash bytea, listed_id bigint)
RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  expiry timestamptz;
BEGIN
  PERFORM sessionsql.commit_synchronously();

  PERFORM 1
  FROM sessionsql.session AS l
  JOIN sessionsql.session AS s ON s.subject = l.subject
  WHERE l.id = revoke_listed.listed_id
    AND s.id = revoke_listed.id
    AND s.id <> l.id
    AND sessionsql.opens_at(
      revoke_listed.secret_hash, s.secret_hash, s.previous_hash, s.previous_until, clock_timestamp()
    )
  FOR UPDATE OF l;

  DELETE FROM sessionsql.session AS l
  USING sessionsql.session AS s
  WHERE l.id = revoke_listed.listed_id
    AND s.id = revoke_listed.id
    AND s.id <> l.id
    AND s.subject = l.subject
    AND sessionsql.opens_at(
      revoke_listed.secret_hash, s.secret_hash, s.previous_hash, s.previous_until, clock_timestamp()
    )
    AND s.expires_at > clock_timestamp()
  RETURNING l.expires_at INTO expiry;

  IF FOUND THEN
    INSERT INTO sessionsql.change (ids) VALUES (ARRAY[revoke_listed.listed_id]);
  END IF;
  RETURN (expiry > clock_timestamp()) IS TRUE;
END
$function$;

COMMENT ON FUNCTION sessionsql.revoke_listed(bigint, bytea, bigint) IS
  'Revokes another session of the same subject; returns whether it was alive. Commits synchronously.';
$file$;
EXECUTE $file$
-- revoke_subject is the logout everywhere. Promises: once the transaction has committed, every session of the
-- subject that was committed before the call, except keep_id, stays dead, even after a crash.
--
-- It waits for locked rows instead of skipping them, because a session that is being touched must not
-- survive. It takes them in id order, and their holders never wait for another row, so it cannot deadlock
-- with any function of this bundle.
--
-- Sequential scans are off, as in end_excess. The DELETE takes ids, because a join by subject would compare
-- each row with every other.
CREATE OR REPLACE FUNCTION sessionsql.revoke_subject(subject text, keep_id bigint DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1000
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $function$
DECLARE
  ids bigint[];
  revoked bigint;
BEGIN
  PERFORM sessionsql.commit_synchronously();

  SELECT array_agg(l.id) INTO ids
  FROM (
    SELECT s.id
    FROM sessionsql.session AS s
    WHERE s.subject = revoke_subject.subject COLLATE "default"
      AND s.id IS DISTINCT FROM revoke_subject.keep_id
    ORDER BY s.id
    FOR UPDATE OF s
  ) AS l;

  WITH deleted AS (
    DELETE FROM sessionsql.session AS s
    WHERE s.id = ANY (ids)
    RETURNING s.expires_at
  )
  SELECT count(*) INTO revoked
  FROM deleted AS d
  WHERE d.expires_at > clock_timestamp();

  IF ids IS NOT NULL THEN
    INSERT INTO sessionsql.change (ids) VALUES (ids);
  END IF;

  RETURN revoked;
END
$function$;

COMMENT ON FUNCTION sessionsql.revoke_subject(text, bigint) IS
  'Revokes a subject''s sessions except keep_id; returns the number alive. Commits synchronously.';
$file$;
EXECUTE $file$
-- A caller needs only a user's name to see the user's sessions, so roles.sql withholds this function from
-- sessionsql_app.
CREATE OR REPLACE FUNCTION sessionsql.list_subject(subject text)
RETURNS SETOF sessionsql.listed_session
LANGUAGE sql STABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100 ROWS 10
BEGIN ATOMIC
  SELECT
    s.id,
    s.created_at,
    date_part('epoch', s.expires_at - statement_timestamp())::double precision AS expires_in,
    s.label
  FROM sessionsql.session AS s
  WHERE s.subject = list_subject.subject COLLATE "default"
    AND s.expires_at > statement_timestamp()
  ORDER BY s.created_at DESC, s.id DESC;
END;

COMMENT ON FUNCTION sessionsql.list_subject(text) IS
  'Lists the live sessions of a subject, newest first, without secrets and payload.';
$file$;
EXECUTE $file$
-- A promotion raises the timeline's number. A Store calls this when the note differs from the primary's
-- timeline, so that each replica shows the timeline that it follows.
CREATE OR REPLACE FUNCTION sessionsql.note_timeline()
RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
BEGIN ATOMIC
  UPDATE sessionsql.timeline AS t
  SET noted = n.timeline
  FROM sessionsql.node AS n
  WHERE t.noted <> n.timeline;
END;

COMMENT ON FUNCTION sessionsql.note_timeline() IS
  'Notes the timeline of this primary, for its replicas to show.';
$file$;
EXECUTE $file$
-- An epoch must end when the tables of the change log are others than the ones it began with, although a row
-- says otherwise. A restored dump brings the row back into new files. A restored copy of the data folder
-- brings the files back, under a server that was started anew. CREATE DATABASE with a TEMPLATE copies both
-- into another database.
CREATE OR REPLACE FUNCTION sessionsql.change_life()
RETURNS text
LANGUAGE sql STABLE PARALLEL RESTRICTED CALLED ON NULL INPUT SECURITY INVOKER COST 1
BEGIN ATOMIC
  SELECT concat_ws(
    '/',
    date_part('epoch', pg_postmaster_start_time()),
    (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database()),
    pg_relation_filenode('sessionsql.change'::regclass),
    pg_relation_filenode('sessionsql.change_epoch'::regclass)
  );
END;

COMMENT ON FUNCTION sessionsql.change_life() IS
  'Returns a text that differs after a restart, a restore or a TRUNCATE of the change log.';
$file$;
EXECUTE $file$
-- A reader drops all it keeps when the epoch changes, so it needs no row that was committed before, and a new
-- epoch starts with an empty log.
--
-- A prepared transaction survives a crash, but its row in the log does not. So no epoch begins while there is
-- one. Concurrent calls wait for each other, and one epoch remains.
CREATE OR REPLACE FUNCTION sessionsql.begin_change_epoch()
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1000
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  present CONSTANT text := sessionsql.change_life();
  horizon CONSTANT xid8 := pg_snapshot_xmin(pg_current_snapshot());
BEGIN
  IF EXISTS (SELECT FROM pg_prepared_xacts AS p WHERE p.database = current_database()) THEN
    RETURN;
  END IF;

  DELETE FROM sessionsql.change_epoch AS e
  WHERE e.life <> present;
  INSERT INTO sessionsql.change_epoch AS e (life, purged_before, next_purge)
  VALUES (present, horizon, horizon)
  ON CONFLICT DO NOTHING;
  IF FOUND THEN
    DELETE FROM sessionsql.change;
  END IF;
END
$function$;

COMMENT ON FUNCTION sessionsql.begin_change_epoch() IS
  'Begins an epoch of the change log, unless one is under way.';
$file$;
EXECUTE $file$
-- A program that keeps sessions in memory calls this several times a second on the primary, and forgets the
-- sessions that it returns. It gives the snapshot of its last call, and null at first.
--
-- Promises: each change is returned exactly once, to the first call that begins after its commit. One
-- statement reads the rows and the snapshot, so the rows that it does not see are those of the transactions
-- that the next call finds outside of this snapshot. Numbers of transactions or of a sequence would lose
-- changes, because transactions commit in another order.
--
-- If the epoch is another than that of the last call, changes may be lost, and the caller forgets all
-- sessions. No row means that the caller forgets all and that no epoch is under way; this call has then begun
-- one, if it could.
--
-- Call it outside of a transaction that writes, because a snapshot does not tell whether it includes the
-- transaction that took it.
CREATE OR REPLACE FUNCTION sessionsql.changes(last pg_snapshot)
RETURNS SETOF sessionsql.change_feed
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1000 ROWS 1
SET search_path = pg_catalog, pg_temp
-- The log has no statistics, and a scan of all of it would take longer than a look at its end.
SET enable_seqscan = off
-- Planning or compiling the query anew would take longer than the query.
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $function$
BEGIN
  RETURN QUERY
  WITH missed AS MATERIALIZED (
    -- Together these are the transactions that pg_visible_in_snapshot(c.xid, last) denies. A transaction that
    -- stays open for long thus makes no call read the changes since its begin.
    SELECT c.ids
    FROM sessionsql.change AS c
    WHERE c.xid >= pg_snapshot_xmax(changes.last)
    UNION ALL
    SELECT c.ids
    FROM sessionsql.change AS c
    WHERE c.xid = ANY (ARRAY(SELECT pg_snapshot_xip(changes.last)))
  )
  SELECT
    e.epoch::text,
    pg_current_snapshot()::text,
    EXISTS (SELECT FROM missed AS m WHERE m.ids IS NULL)
      OR COALESCE(pg_snapshot_xmin(changes.last) < e.purged_before, false),
    ARRAY(SELECT u.id FROM missed AS m CROSS JOIN unnest(m.ids) AS u (id))::sessionsql.id_list
  FROM sessionsql.change_epoch AS e
  WHERE e.singleton
    AND e.life = sessionsql.change_life();

  IF NOT FOUND THEN
    PERFORM sessionsql.begin_change_epoch();
  END IF;
END
$function$;

COMMENT ON FUNCTION sessionsql.changes(pg_snapshot) IS
  'Returns the sessions changed since a snapshot, and the snapshot for the next call; or no row.';
$file$;
EXECUTE $file$
-- reap calls this, so that one call runs at a time. A row stays for two minutes at least, because a reader
-- that comes later than that has to forget all sessions: the rows of transactions that its snapshot does not
-- include may be gone. A transaction that is open holds back the purge of all later ones.
--
-- A call deletes 100,000 rows at most, so that it takes a fraction of a second.
CREATE OR REPLACE FUNCTION sessionsql.purge_changes()
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1000
SET search_path = pg_catalog, pg_temp
-- See changes.
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $function$
DECLARE
  horizon xid8;
BEGIN
  PERFORM sessionsql.begin_change_epoch();

  UPDATE sessionsql.change_epoch AS e
  SET purged_before = e.next_purge,
      next_purge = pg_snapshot_xmin(pg_current_snapshot()),
      next_purge_noted_at = clock_timestamp()
  WHERE e.singleton
    AND e.next_purge_noted_at NOT BETWEEN clock_timestamp() - interval '2 minutes' AND clock_timestamp()
    AND e.life = sessionsql.change_life();

  SELECT e.purged_before INTO horizon
  FROM sessionsql.change_epoch AS e
  WHERE e.singleton
    AND e.life = sessionsql.change_life();

  DELETE FROM sessionsql.change AS c
  WHERE c.ctid = ANY (
    ARRAY(
      SELECT o.ctid
      FROM sessionsql.change AS o
      WHERE o.xid < horizon
      ORDER BY o.xid
      LIMIT 100000
    )
  );
END
$function$;

COMMENT ON FUNCTION sessionsql.purge_changes() IS
  'Deletes rows of the change log that every reader of the last two minutes has seen.';
$file$;
EXECUTE $file$
-- A clock hand walks the table by ranges of pages, so that a call costs the same on a table of any size and
-- expires_at needs no index. A call returns no row if another reaper is at work. To keep up with any rate,
-- call it again while it finds work, instead of raising max_rows.
--
-- Promises: deletes at most max_rows rows, reads at most max_pages pages to find them, never waits for a row,
-- and never deletes a session that was extended in the meantime. A locked row is left for the next lap.
--
-- Commits asynchronously unless durable, because the rows that a crash brings back are expired anyway.
CREATE OR REPLACE FUNCTION sessionsql.reap(
  max_rows integer DEFAULT 1000,
  max_pages integer DEFAULT 4096,
  durable boolean DEFAULT false
)
RETURNS SETOF sessionsql.last_reap
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 10000 ROWS 1
SET search_path = pg_catalog, pg_temp
-- A Tid Range Scan enforces the bound in pages. Without statistics, or under a connection's own settings, the
-- planner may prefer a scan of the whole table, so these settings rule that out.
SET enable_tidscan = on
SET enable_seqscan = off
SET enable_indexscan = on
SET enable_nestloop = on
AS $function$
DECLARE
  first_page bigint;
  end_page bigint;
  table_pages bigint;
  found_rows bigint;
  last_tid tid;
  oldest timestamptz;
  result sessionsql.last_reap;
BEGIN
  IF (reap.max_rows > 0 AND reap.max_pages > 0) IS NOT TRUE THEN
    RAISE invalid_parameter_value USING MESSAGE = 'sessionsql.reap: max_rows and max_pages must be positive';
  END IF;

  -- This is first, because the lock below counts as a write.
  PERFORM sessionsql.commit_asynchronously(reap.durable);

  SELECT r.next_page INTO first_page
  FROM sessionsql.reaper AS r
  WHERE r.singleton
  FOR NO KEY UPDATE OF r SKIP LOCKED;
  IF NOT FOUND THEN
    RETURN;
  END IF;

  PERFORM sessionsql.purge_changes();

  table_pages := pg_relation_size('sessionsql.session'::regclass) / current_setting('block_size')::bigint;
  IF first_page >= table_pages THEN
    first_page := 0;
  END IF;
  end_page := LEAST(first_page + reap.max_pages, table_pages);

  -- Rows are locked in the order of the scan, because sorting by id would have to find every expired row of
  -- the range first. No order can deadlock, because nothing here waits. The DELETE finds its rows by id,
  -- because a row that has moved has another ctid.
  WITH expired AS MATERIALIZED (
    SELECT s.id, s.ctid
    FROM sessionsql.session AS s
    WHERE s.ctid >= ('(' || first_page || ',0)')::tid
      AND s.ctid < ('(' || end_page || ',0)')::tid
      AND s.expires_at <= statement_timestamp()
    LIMIT reap.max_rows
    FOR UPDATE OF s SKIP LOCKED
  ), deleted AS (
    DELETE FROM sessionsql.session AS s
    USING expired AS e
    WHERE s.id = e.id
      AND s.expires_at <= statement_timestamp()
    RETURNING s.expires_at
  )
  SELECT
    (SELECT count(*) FROM expired AS e),
    (SELECT max(e.ctid) FROM expired AS e),
    count(*),
    min(d.expires_at)
  INTO found_rows, last_tid, result.reaped, oldest
  FROM deleted AS d;

  -- The scan stopped at max_rows. The page of the last row may hold more, so the next call starts there.
  IF found_rows >= reap.max_rows THEN
    end_page := LEAST(end_page, split_part(ltrim(last_tid::text, '('), ',', 1)::bigint + 1);
    result.pages := end_page - first_page;
    end_page := end_page - 1;
  ELSE
    result.pages := end_page - first_page;
  END IF;
  result.lap_done := end_page >= table_pages;

  UPDATE sessionsql.reaper AS r
  SET next_page = CASE WHEN result.lap_done THEN 0 ELSE end_page END,
      reaped = result.reaped,
      pages = result.pages,
      lap_done = result.lap_done,
      oldest_expired = CASE WHEN result.lap_done THEN NULL ELSE LEAST(r.oldest_expired, oldest) END,
      last_lap_oldest_expired =
        CASE WHEN result.lap_done THEN LEAST(r.oldest_expired, oldest) ELSE r.last_lap_oldest_expired END,
      last_lap_ended_at = CASE WHEN result.lap_done THEN statement_timestamp() ELSE r.last_lap_ended_at END
  WHERE r.singleton;

  RETURN NEXT result;
END
$function$;

COMMENT ON FUNCTION sessionsql.reap(integer, integer, boolean) IS
  'Deletes expired sessions from the next pages; returns counts. Commits asynchronously unless durable.';
$file$;
EXECUTE $file$
-- cron cannot loop, so the loop is here. Each call of reap has its own transaction. The loop ends when the
-- hand has reached the end of the table twice, because the hand has then passed every page. It also ends when
-- another reaper is at work, and after max_calls.
--
-- It commits, so it cannot run in a transaction block. A procedure that commits may have no SET clause, so
-- every name below is qualified.
CREATE OR REPLACE PROCEDURE sessionsql.reap_all(max_calls integer DEFAULT 100)
LANGUAGE plpgsql SECURITY INVOKER
AS $procedure$
DECLARE
  call sessionsql.last_reap;
  laps integer := 0;
BEGIN
  IF (reap_all.max_calls OPERATOR(pg_catalog.>) 0) IS NOT TRUE THEN
    RAISE invalid_parameter_value USING MESSAGE = 'sessionsql.reap_all: max_calls must be positive';
  END IF;

  FOR i IN 1 .. reap_all.max_calls LOOP
    SELECT r.reaped, r.pages, r.lap_done INTO call
    FROM sessionsql.reap() AS r;
    EXIT WHEN NOT FOUND;
    COMMIT;
    IF call.lap_done THEN
      laps := laps OPERATOR(pg_catalog.+) 1;
      EXIT WHEN laps OPERATOR(pg_catalog.=) 2;
    END IF;
  END LOOP;
END
$procedure$;

COMMENT ON PROCEDURE sessionsql.reap_all(integer) IS
  'Calls reap until no expired session is left, one transaction per call. For cron.';
$file$;
EXECUTE $file$
-- The id is the first 8 of a token's 24 bytes. A malformed token raises no error, for the reason in
-- token_hash.
CREATE OR REPLACE FUNCTION sessionsql.token_id(token text)
RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 10
BEGIN ATOMIC
  SELECT CASE
    WHEN octet_length(token_id.token) <> 32 THEN NULL
    WHEN token_id.token COLLATE "C" ~ '^[A-Za-z0-9_-]{32}$'
      THEN NULLIF(GREATEST(
        (
          'x' || encode(substr(decode(translate(token_id.token, '-_', '+/'), 'base64'), 1, 8), 'hex')
        )::bit(64)::bigint,
        0
      ), 0)
  END;
END;

COMMENT ON FUNCTION sessionsql.token_id(text) IS 'Returns the id in a token; null if the token is malformed.';
$file$;
EXECUTE $file$
-- The secret is the last 16 of a token's 24 bytes. A malformed token raises no error, because an error would
-- carry it into the server's log. The length is checked first, because a pattern fails on a text that is too
-- long.
CREATE OR REPLACE FUNCTION sessionsql.token_hash(token text)
RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 10
BEGIN ATOMIC
  SELECT CASE
    WHEN octet_length(token_hash.token) <> 32 THEN NULL
    WHEN token_hash.token COLLATE "C" ~ '^[A-Za-z0-9_-]{32}$'
      THEN sha256(substr(decode(translate(token_hash.token, '-_', '+/'), 'base64'), 9, 16))
  END;
END;

COMMENT ON FUNCTION sessionsql.token_hash(text) IS
  'Returns SHA-256 of the secret in a token; null if the token is malformed.';
$file$;
EXECUTE $file$
-- gen_random_uuid draws on the server's strong randomness. A UUID has 6 fixed bits, so two UUIDs are hashed
-- into 128 random bits.
CREATE OR REPLACE FUNCTION sessionsql.new_secret()
RETURNS bytea
LANGUAGE sql VOLATILE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 10
BEGIN ATOMIC
  SELECT substr(sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())), 1, 16);
END;

COMMENT ON FUNCTION sessionsql.new_secret() IS 'Returns a random secret of 16 bytes and stores it nowhere.';
$file$;
EXECUTE $file$
-- A token is base64url of id and secret, 32 characters without padding. token_id and token_hash take it
-- apart.
CREATE OR REPLACE FUNCTION sessionsql.token_from(id bigint, secret bytea)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 10
BEGIN ATOMIC
  SELECT translate(encode(int8send(token_from.id) || token_from.secret, 'base64'), '+/', '-_');
END;

COMMENT ON FUNCTION sessionsql.token_from(bigint, bytea) IS 'Returns the token of an id and a secret.';
$file$;
EXECUTE $file$
-- This is insert for clients that have only SQL. The server makes the secret; Go opens the token too.
--
-- The server neither stores nor logs this token. A client that later sends it in the text of a statement, as
-- in find_session('...'), puts it into the log of a server that logs statements. Send it as a parameter, and
-- keep log_parameter_max_length at 0.
CREATE OR REPLACE FUNCTION sessionsql.new_session(
  payload text,
  idle_timeout interval DEFAULT '30 minutes',
  lifetime interval DEFAULT NULL,
  subject text DEFAULT NULL,
  durable boolean DEFAULT false,
  max_sessions bigint DEFAULT NULL,
  label text DEFAULT NULL
)
RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  secret CONSTANT bytea := sessionsql.new_secret();
  id CONSTANT bigint := sessionsql.insert(
    secret_hash => sha256(secret),
    payload => new_session.payload,
    idle_timeout => new_session.idle_timeout,
    lifetime => new_session.lifetime,
    subject => new_session.subject,
    durable => new_session.durable,
    max_sessions => new_session.max_sessions::integer,
    label => new_session.label
  );
BEGIN
  RETURN sessionsql.token_from(id, secret);
END
$function$;

COMMENT ON FUNCTION sessionsql.new_session(text, interval, interval, text, boolean, bigint, text) IS
  'Inserts a session and returns its token. Commits asynchronously unless durable.';

-- This overload is for drivers that send a number of seconds. The idle timeout has no default, because a call
-- without it would match several functions.
CREATE OR REPLACE FUNCTION sessionsql.new_session(
  payload text,
  idle_timeout double precision,
  lifetime double precision DEFAULT NULL,
  subject text DEFAULT NULL,
  durable boolean DEFAULT false,
  max_sessions bigint DEFAULT NULL,
  label text DEFAULT NULL
)
RETURNS text
LANGUAGE sql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
BEGIN ATOMIC
  SELECT sessionsql.new_session(
    new_session.payload,
    make_interval(secs => new_session.idle_timeout),
    make_interval(secs => new_session.lifetime),
    new_session.subject,
    new_session.durable,
    new_session.max_sessions,
    new_session.label
  );
END;

COMMENT ON FUNCTION
  sessionsql.new_session(text, double precision, double precision, text, boolean, bigint, text) IS
  'Inserts a session and returns its token; both timeouts are seconds.';

-- This overload is for drivers that declare a string as text, such as '30 minutes', or '1800' for seconds.
CREATE OR REPLACE FUNCTION sessionsql.new_session(
  payload text,
  idle_timeout text,
  lifetime text DEFAULT NULL,
  subject text DEFAULT NULL,
  durable boolean DEFAULT false,
  max_sessions bigint DEFAULT NULL,
  label text DEFAULT NULL
)
RETURNS text
LANGUAGE sql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
BEGIN ATOMIC
  SELECT sessionsql.new_session(
    new_session.payload,
    new_session.idle_timeout::interval,
    new_session.lifetime::interval,
    new_session.subject,
    new_session.durable,
    new_session.max_sessions,
    new_session.label
  );
END;

COMMENT ON FUNCTION sessionsql.new_session(text, text, text, text, boolean, bigint, text) IS
  'Inserts a session and returns its token; both timeouts are text, an interval or seconds.';
$file$;
EXECUTE $file$
-- This is lookup for clients that have only SQL. A malformed token finds no row, and raises no error. Send
-- the token as a parameter, because a server may log the text of a statement.
CREATE OR REPLACE FUNCTION sessionsql.find_session(token text)
RETURNS SETOF sessionsql.live_session
LANGUAGE sql STABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 20 ROWS 1
BEGIN ATOMIC
  SELECT
    l.id,
    l.payload,
    l.version,
    l.subject,
    l.expires_in
  FROM sessionsql.lookup(
    sessionsql.token_id(find_session.token),
    sessionsql.token_hash(find_session.token)
  ) AS l;
END;

COMMENT ON FUNCTION sessionsql.find_session(text) IS
  'Returns the live session of a token, or no row. Does not touch it.';
$file$;
EXECUTE $file$
-- This is find_session and touch_batch in one call, for clients that have only SQL. A web page calls it once
-- per request. It writes only if the session is due for a touch, so at most once every third of the idle
-- timeout.
--
-- Promises: never waits for a row, because touch_batch skips locked rows. On a replica and in a read-only
-- transaction, it finds the session and does not touch it.
CREATE OR REPLACE FUNCTION sessionsql.use_session(token text, durable boolean DEFAULT false)
RETURNS SETOF sessionsql.live_session
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100 ROWS 1
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  presented_id CONSTANT bigint := sessionsql.token_id(use_session.token);
  presented_hash CONSTANT bytea := sessionsql.token_hash(use_session.token);
BEGIN
  IF NOT current_setting('transaction_read_only')::boolean AND EXISTS (
    SELECT
    FROM sessionsql.session AS s
    WHERE s.id = presented_id
      AND sessionsql.opens(presented_hash, s.secret_hash, s.previous_hash, s.previous_until)
      AND sessionsql.is_due(s.expires_at, s.idle_seconds, s.deadline)
  ) THEN
    PERFORM sessionsql.touch_batch(ARRAY[presented_id], use_session.durable);
  END IF;

  RETURN QUERY
    SELECT
      o.id,
      o.payload,
      o.version,
      o.subject,
      o.expires_in
    FROM sessionsql.open_session(presented_id, presented_hash) AS o;
END
$function$;

COMMENT ON FUNCTION sessionsql.use_session(text, boolean) IS
  'Touches a token''s live session and returns it, or no row. Commits asynchronously unless durable.';
$file$;
EXECUTE $file$
-- This is update_payload for clients that have only SQL. An expected version that no session can have is a
-- conflict. Commits asynchronously unless durable.
CREATE OR REPLACE FUNCTION sessionsql.save_session(
  token text,
  payload text,
  expected_version bigint DEFAULT NULL,
  durable boolean DEFAULT false
)
RETURNS integer
LANGUAGE sql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
BEGIN ATOMIC
  SELECT sessionsql.update_payload(
    sessionsql.token_id(save_session.token),
    sessionsql.token_hash(save_session.token),
    save_session.payload,
    CASE
      WHEN save_session.expected_version BETWEEN 1 AND 2147483647 THEN save_session.expected_version::integer
      WHEN save_session.expected_version IS NOT NULL THEN 0
    END,
    save_session.durable
  );
END;

COMMENT ON FUNCTION sessionsql.save_session(text, text, bigint, boolean) IS
  'Writes the payload of a token''s session; returns its new version, 0 (conflict) or -1 (gone).';
$file$;
EXECUTE $file$
-- This is rotate for clients that have only SQL. The server makes the new secret. Null means that the token
-- opens no live session, or that another request rotated first and this token is the previous one.
--
-- The grace defaults to 10 seconds, and to none with a subject, because a login must leave the anonymous
-- token dead: somebody may have planted it (session fixation; OWASP ASVS 5.0, 7.2.4).
CREATE OR REPLACE FUNCTION sessionsql.renew_session(
  token text,
  subject text DEFAULT NULL,
  grace interval DEFAULT NULL,
  max_sessions bigint DEFAULT NULL
)
RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  id CONSTANT bigint := sessionsql.token_id(renew_session.token);
  secret CONSTANT bytea := sessionsql.new_secret();
BEGIN
  IF sessionsql.rotate(
    id => id,
    secret_hash => sessionsql.token_hash(renew_session.token),
    new_secret_hash => sha256(secret),
    grace => COALESCE(
      renew_session.grace,
      CASE WHEN renew_session.subject IS NULL THEN interval '10 seconds' ELSE interval '0' END
    ),
    subject => renew_session.subject,
    max_sessions => renew_session.max_sessions::integer
  ) THEN
    RETURN sessionsql.token_from(id, secret);
  END IF;
  RETURN NULL;
END
$function$;

COMMENT ON FUNCTION sessionsql.renew_session(text, text, interval, bigint) IS
  'Rotates the secret of a session and returns the new token, or null. Commits synchronously.';

-- This overload is for drivers that send a number of seconds.
CREATE OR REPLACE FUNCTION sessionsql.renew_session(
  token text,
  subject text,
  grace double precision,
  max_sessions bigint DEFAULT NULL
)
RETURNS text
LANGUAGE sql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
BEGIN ATOMIC
  SELECT sessionsql.renew_session(
    renew_session.token,
    renew_session.subject,
    make_interval(secs => renew_session.grace),
    renew_session.max_sessions
  );
END;

COMMENT ON FUNCTION sessionsql.renew_session(text, text, double precision, bigint) IS
  'Rotates the secret of a session and returns the new token, or null; the grace is seconds.';

-- This overload is for drivers that declare a string as text, such as '10 seconds', or '10' for seconds.
CREATE OR REPLACE FUNCTION sessionsql.renew_session(
  token text,
  subject text,
  grace text,
  max_sessions bigint DEFAULT NULL
)
RETURNS text
LANGUAGE sql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
BEGIN ATOMIC
  SELECT sessionsql.renew_session(
    renew_session.token,
    renew_session.subject,
    renew_session.grace::interval,
    renew_session.max_sessions
  );
END;

COMMENT ON FUNCTION sessionsql.renew_session(text, text, text, bigint) IS
  'Rotates the secret of a session and returns the new token, or null; the grace is text.';
$file$;
EXECUTE $file$
-- This is revoke for clients that have only SQL.
CREATE OR REPLACE FUNCTION sessionsql.end_session(token text)
RETURNS boolean
LANGUAGE sql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
BEGIN ATOMIC
  SELECT sessionsql.revoke(sessionsql.token_id(end_session.token), sessionsql.token_hash(end_session.token));
END;

COMMENT ON FUNCTION sessionsql.end_session(text) IS
  'Revokes the session of a token and returns whether it was alive. Commits synchronously.';
$file$;
EXECUTE $file$
-- This is list_subject for clients that have only SQL. A token of no session, or of one without a subject,
-- gets no row.
CREATE OR REPLACE FUNCTION sessionsql.list_sessions(token text)
RETURNS TABLE (
  id bigint,
  created_at timestamptz,
  expires_in double precision,
  label text,
  is_current boolean
)
LANGUAGE sql STABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100 ROWS 10
BEGIN ATOMIC
  SELECT
    l.id,
    l.created_at,
    l.expires_in,
    l.label,
    l.id = o.id AS is_current
  FROM sessionsql.open_session(
    sessionsql.token_id(list_sessions.token),
    sessionsql.token_hash(list_sessions.token)
  ) AS o
  CROSS JOIN LATERAL sessionsql.list_subject(o.subject) AS l
  ORDER BY l.created_at DESC, l.id DESC;
END;

COMMENT ON FUNCTION sessionsql.list_sessions(text) IS
  'Lists the live sessions of a token''s subject, newest first, and marks the token''s own.';
$file$;
EXECUTE $file$
-- This is revoke_listed for clients that have only SQL. The id is from list_sessions.
CREATE OR REPLACE FUNCTION sessionsql.end_listed_session(token text, id bigint)
RETURNS boolean
LANGUAGE sql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
BEGIN ATOMIC
  SELECT sessionsql.revoke_listed(
    sessionsql.token_id(end_listed_session.token),
    sessionsql.token_hash(end_listed_session.token),
    end_listed_session.id
  );
END;

COMMENT ON FUNCTION sessionsql.end_listed_session(text, bigint) IS
  'Revokes another session of a token''s subject; returns whether it was alive. Commits synchronously.';
$file$;
IF state.before_3 THEN
EXECUTE $file$
-- The successors of these functions of 0.1.0 take another parameter, so CREATE OR REPLACE has left the old
-- ones. A call that names fewer parameters than either would be ambiguous. This migration runs after the new
-- functions are in place, because they no longer call the old ones.
--
-- A body of 0.1.0 may be running while this commits. It finds the successors by name, so their new parameters
-- come last and have a default. A BEGIN ATOMIC body finds the functions that it calls by number, so no such
-- function is dropped here.
DROP FUNCTION IF EXISTS
  sessionsql.insert(bytea, text, interval, interval, text, boolean, integer),
  sessionsql.insert_batch(bytea[], text[], double precision[], double precision[], text[], boolean),
  sessionsql.new_session(text, interval, interval, text, boolean, integer),
  sessionsql.touch_batch(bigint[]),
  sessionsql.rotate(bigint, bytea, bytea, interval, text),
  sessionsql.reap(integer, integer),
  sessionsql.check_insert(bytea, text, double precision, double precision, text, integer),
  sessionsql.evict_subject(text, integer);

INSERT INTO sessionsql.migration (id, name) VALUES (3, 'signatures');
$file$;
END IF;
EXECUTE $file$
-- This file alone states the version. Go and the packaging read it, and scripts/generate.sh copies it into
-- begin.sql.
CREATE OR REPLACE FUNCTION sessionsql.version()
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT SECURITY INVOKER COST 1
BEGIN ATOMIC
  SELECT '0.2.0'::text;
END;

COMMENT ON FUNCTION sessionsql.version() IS 'Returns the version of the installed bundle.';
$file$;
EXECUTE $file$
-- Privileges stand here and in roles.sql alone, each with its reason.

-- PostgreSQL gives EXECUTE on every new function and procedure to PUBLIC. Only roles with a grant may use the
-- session store.
REVOKE EXECUTE ON ALL ROUTINES IN SCHEMA sessionsql FROM PUBLIC;
REVOKE ALL ON SCHEMA sessionsql FROM PUBLIC;
$file$;
IF state.roles THEN
EXECUTE $file$
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
--     sessionsql_app       do all that a Store does: insert, look up, touch, update, rotate, revoke, reap.
--                          A session is returned only for the hash of its secret; no table can be read.
--     sessionsql_support   list the sessions of a subject, and revoke them
--     sessionsql_reader    look sessions up, for programs that only read
--     sessionsql_reaper    reap
--     sessionsql_monitor   see health and the reaper's last call, but no session
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
-- PostgreSQL 18, each call of a SQL function that is not inlined plans it anew, so lookup, lookup_batch and
-- lookup_near become PL/pgSQL there. The statement inside is copied from the catalog, so it is written only
-- in functions/.

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
ALTER FUNCTION sessionsql.revoke_listed SECURITY DEFINER;
ALTER FUNCTION sessionsql.revoke_subject SECURITY DEFINER;
ALTER FUNCTION sessionsql.list_subject SECURITY DEFINER;
ALTER FUNCTION sessionsql.use_session SECURITY DEFINER;
ALTER FUNCTION sessionsql.list_sessions SECURITY DEFINER;
ALTER FUNCTION sessionsql.reap SECURITY DEFINER;
ALTER FUNCTION sessionsql.note_timeline SECURITY DEFINER;
ALTER FUNCTION sessionsql.changes SECURITY DEFINER;

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
        'sessionsql.lookup'::regproc, 'sessionsql.lookup_batch'::regproc, 'sessionsql.lookup_near'::regproc
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

-- changes shows ids without hashes, and an id opens nothing. A program that only reads keeps sessions too.
GRANT EXECUTE ON FUNCTION sessionsql.changes TO sessionsql_app, sessionsql_reader;

-- touch_batch takes ids without hashes, but a touch shows nothing and opens nothing.
GRANT EXECUTE ON FUNCTION sessionsql.touch_batch TO sessionsql_app;

-- A Store calls note_timeline after a failover. The function takes nothing and shows nothing.
GRANT EXECUTE ON FUNCTION sessionsql.note_timeline TO sessionsql_app;

-- A Store reaps by itself; sessionsql_reaper is for a scheduler.
GRANT EXECUTE ON ROUTINE sessionsql.reap, sessionsql.reap_all TO sessionsql_app, sessionsql_reaper;

-- A change of password revokes the user's other sessions.
GRANT EXECUTE ON FUNCTION sessionsql.revoke_subject TO sessionsql_app, sessionsql_support;

-- list_subject shows a subject's sessions to a caller without a secret, so the app does not get it.
GRANT EXECUTE ON FUNCTION sessionsql.list_subject TO sessionsql_support;

-- These views show numbers about the table. Give the monitor pg_read_all_stats too, which takes a superuser
-- or that role's admin, because oldest_xmin_age otherwise leaves out transactions of other roles.
GRANT SELECT ON TABLE sessionsql.health, sessionsql.last_reap TO sessionsql_monitor;

DO $roles$
BEGIN
  PERFORM pg_catalog.set_config(
    'quote_all_identifiers', pg_catalog.current_setting('sessionsql.roles_quoting'), true
  );
  PERFORM pg_catalog.set_config('search_path', pg_catalog.current_setting('sessionsql.roles_path'), true);
END
$roles$;
$file$;
END IF;
IF state.before_4 THEN
EXECUTE $file$
-- Clients compare the note on a replica with the primary's timeline; see tables/timeline.sql and
-- views/node.sql. This migration runs after roles.sql, because roles.sql gives the table to the owner of the
-- views.
DO $timeline$
BEGIN
  PERFORM sessionsql.note_timeline();
END
$timeline$;

INSERT INTO sessionsql.migration (id, name) VALUES (4, 'timeline');
$file$;
END IF;
IF state.before_5 THEN
EXECUTE $file$
-- Calls of 0.1.0 need these functions until they end, because a call of list_subject finds its function by
-- number, and the bodies of insert and insert_batch find is_insertable by name. Go's Install commits the
-- other migrations earlier, so that those calls have ended by now.
DROP FUNCTION IF EXISTS
  sessionsql.list_subject_before(text),
  sessionsql.is_insertable(bytea, text, double precision, double precision, text, integer);

INSERT INTO sessionsql.migration (id, name) VALUES (5, 'leftovers');
$file$;
END IF;
END IF;
EXECUTE $file$
-- This last file of an installation restores the settings for the statements that follow in the transaction.
-- It sets only those that begin.sql changed, because some need a privilege.
DO $end$
BEGIN
  PERFORM pg_catalog.set_config(s.key, s.value, true)
  FROM pg_catalog.json_each_text(pg_catalog.current_setting('sessionsql.settings')::pg_catalog.json) AS s
  WHERE s.value OPERATOR(pg_catalog.<>) pg_catalog.current_setting(s.key);
END
$end$;
$file$;
END
$sessionsql$;
-- +migrate StatementEnd
-- +goose StatementEnd
