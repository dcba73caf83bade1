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
--     sessionsql.router       whether router.sql has run here
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
  PERFORM set_config('sessionsql.router', (to_regnamespace('sessionsql_router') IS NOT NULL)::text, true);
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
  6 <> ALL (s.migrated) AS before_6,
  7 <> ALL (s.migrated) AS before_7,
  8 <> ALL (s.migrated) AS before_8,
  9 <> ALL (s.migrated) AS before_9,
  s.roles AS roles,
  s.router AS router
FROM (
  SELECT
    current_setting('sessionsql.installed') AS installed,
    current_setting('sessionsql.wanted') AS wanted,
    current_setting('sessionsql.migrated')::integer[] AS migrated,
    current_setting('sessionsql.schema')::boolean AS schema,
    current_setting('sessionsql.roles')::boolean AS roles,
    current_setting('sessionsql.router')::boolean AS router
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
-- Programs that keep sessions and cache entries in memory read here which of them others have ended or
-- written; see functions/changes.sql. The transaction that changes one adds a row, so the row is visible
-- exactly when the change is.
--
-- Both tables are UNLOGGED. They cost no WAL, and they are empty after a crash and on a promoted standby,
-- where ids of transactions are handed out again. So rows and epoch never outlive the numbers in them.
CREATE UNLOGGED TABLE sessionsql.change (
  xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
  ids bigint[],
  keys uuid[]
) WITH (
  -- Each row is deleted within minutes, so vacuum starts as early as on the session table.
  autovacuum_vacuum_threshold = 2000,
  autovacuum_vacuum_scale_factor = 0.01,
  autovacuum_vacuum_cost_delay = 2,
  -- Truncation needs an ACCESS EXCLUSIVE lock, behind which logouts would wait.
  vacuum_truncate = off
);

COMMENT ON TABLE sessionsql.change IS 'Sessions and near cache entries that were ended or written lately.';
COMMENT ON COLUMN sessionsql.change.xid IS 'Transaction that made the change.';
COMMENT ON COLUMN sessionsql.change.ids IS 'Ids of the changed sessions.';
COMMENT ON COLUMN sessionsql.change.keys IS
  'Keys of the changed near cache entries; if both columns are null, everything may have changed.';

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
-- This is the trigger that logs a TRUNCATE of sessions or cache entries. It runs as its owner, because a role
-- that may truncate the table may not write the log.
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

COMMENT ON FUNCTION sessionsql.log_truncate() IS 'Trigger: logs a TRUNCATE as a change of everything.';
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
IF state.before_6 THEN
EXECUTE $file$
-- Cache entries come with tables of their own, which lock nobody out. Their functions take arrays, whose Go
-- types sqlc takes from these domains; see tables/types.sql.
CREATE DOMAIN sessionsql.entry_value AS bytea;
CREATE DOMAIN sessionsql.key_list AS uuid[];
CREATE DOMAIN sessionsql.space_list AS integer[];
CREATE DOMAIN sessionsql.value_list AS bytea[];

INSERT INTO sessionsql.migration (id, name) VALUES (6, 'cache');
$file$;
EXECUTE $file$
-- Entries are found by a key that the client chooses: cached data, and the sessions of frameworks that name
-- their sessions themselves. The rules of sessionsql.session hold here too: no CHECK, no index but the key's,
-- and functions that refuse null before the table does, because a violation prints the whole row.
--
-- An operator may make the table UNLOGGED. Then a crash empties it, a tombstone included, and no replica can
-- read it.
CREATE TABLE sessionsql.cache_entry (
  -- The key has 16 bytes of a hash instead of the caller's text, so that any text fits and the index stays
  -- small; see cache_key.
  key uuid PRIMARY KEY,
  -- No index has this column, because each touch would then change the index and would not be HOT.
  expires_at timestamptz NOT NULL,
  space integer NOT NULL,
  value bytea,
  plain_key bytea
) WITH (
  -- These have the values of sessionsql.session, for the reasons that stand there.
  fillfactor = 70,
  autovacuum_vacuum_threshold = 2000,
  autovacuum_vacuum_scale_factor = 0.01,
  autovacuum_vacuum_cost_delay = 2,
  vacuum_truncate = off,
  toast.autovacuum_vacuum_threshold = 2000,
  toast.autovacuum_vacuum_scale_factor = 0.01,
  toast.autovacuum_vacuum_cost_delay = 2,
  toast.vacuum_truncate = off
);

COMMENT ON TABLE sessionsql.cache_entry IS
  'One row an entry. Read it through sessionsql.cache_get_batch and sessionsql.cache_live, which know what '
  'is expired.';
COMMENT ON COLUMN sessionsql.cache_entry.key IS 'First 16 bytes of a hash of space and key; see cache_key.';
COMMENT ON COLUMN sessionsql.cache_entry.expires_at IS
  'Dead from this instant on, whether reaped or not; infinity for an entry that never expires.';
COMMENT ON COLUMN sessionsql.cache_entry.space IS 'Number of the cache; see cache_space_id.';
COMMENT ON COLUMN sessionsql.cache_entry.value IS
  'What the application keeps; opaque to this bundle. Null for a tombstone, which no set replaces.';
COMMENT ON COLUMN sessionsql.cache_entry.plain_key IS
  'Key as the application names it; null if it is not kept, empty for the lease of cache_fetch_lease.';

-- Statistics would copy values and keys into pg_statistic, and no plan needs them.
ALTER TABLE sessionsql.cache_entry
  ALTER COLUMN value SET STATISTICS 0,
  ALTER COLUMN plain_key SET STATISTICS 0;

-- lz4 takes less CPU time than pglz, as for payloads.
DO $compression$
BEGIN
  IF EXISTS (
    SELECT
    FROM pg_catalog.pg_settings AS s
    WHERE s.name OPERATOR(pg_catalog.=) 'default_toast_compression'
      AND 'lz4' OPERATOR(pg_catalog.=) ANY (s.enumvals)
  ) THEN
    ALTER TABLE sessionsql.cache_entry ALTER COLUMN value SET COMPRESSION lz4;
  END IF;
END
$compression$;
$file$;
EXECUTE $file$
-- This is for cache_entry what sessionsql.reaper is for session: the position of the clock hand. Its lock
-- admits one reaper of the cache at a time.
CREATE TABLE sessionsql.cache_reaper (
  singleton boolean PRIMARY KEY DEFAULT true,
  next_page bigint NOT NULL DEFAULT 0,
  reaped bigint NOT NULL DEFAULT 0,
  evicted bigint NOT NULL DEFAULT 0,
  pages bigint NOT NULL DEFAULT 0,
  lap_done boolean NOT NULL DEFAULT false,
  oldest_expired timestamptz,
  last_lap_oldest_expired timestamptz,
  last_lap_ended_at timestamptz
) WITH (
  -- These have the values of sessionsql.reaper, for the reasons that stand there.
  fillfactor = 10,
  autovacuum_vacuum_threshold = 100,
  autovacuum_vacuum_scale_factor = 0,
  vacuum_truncate = off
);

COMMENT ON TABLE sessionsql.cache_reaper IS 'Position of the cache''s clock hand; one row, never more.';
COMMENT ON COLUMN sessionsql.cache_reaper.singleton IS 'True: the key of the only row.';
COMMENT ON COLUMN sessionsql.cache_reaper.next_page IS
  'Page of sessionsql.cache_entry where the next call begins.';
COMMENT ON COLUMN sessionsql.cache_reaper.reaped IS 'Expired rows that the last call deleted.';
COMMENT ON COLUMN sessionsql.cache_reaper.evicted IS 'Live rows that the last call deleted for a budget.';
COMMENT ON COLUMN sessionsql.cache_reaper.pages IS 'Pages that the last call read.';
COMMENT ON COLUMN sessionsql.cache_reaper.lap_done IS 'Whether the last call reached the end of the table.';
COMMENT ON COLUMN sessionsql.cache_reaper.oldest_expired IS
  'Earliest expires_at met in the lap under way; null when none was expired.';
COMMENT ON COLUMN sessionsql.cache_reaper.last_lap_oldest_expired IS
  'Earliest expires_at met in the last whole lap; null when none was expired.';
COMMENT ON COLUMN sessionsql.cache_reaper.last_lap_ended_at IS 'When the last whole lap ended.';

INSERT INTO sessionsql.cache_reaper (singleton) VALUES (true);
$file$;
EXECUTE $file$
-- The reaper sums the bytes of each space with a budget here while its hand goes round. Only the holder of
-- the hand's lock writes here, so that no two writers meet.
CREATE TABLE sessionsql.cache_space (
  space integer PRIMARY KEY,
  max_bytes bigint NOT NULL,
  asked_at timestamptz NOT NULL,
  lap_bytes double precision NOT NULL DEFAULT 0,
  lap_evicted_bytes double precision NOT NULL DEFAULT 0,
  last_lap_bytes double precision NOT NULL DEFAULT 0
) WITH (
  -- As in sessionsql.reaper, each call rewrites the rows.
  fillfactor = 10,
  autovacuum_vacuum_threshold = 100,
  autovacuum_vacuum_scale_factor = 0,
  vacuum_truncate = off
);

COMMENT ON TABLE sessionsql.cache_space IS 'One row a space with a budget.';
COMMENT ON COLUMN sessionsql.cache_space.space IS 'Number of the cache; see cache_space_id.';
COMMENT ON COLUMN sessionsql.cache_space.max_bytes IS 'Budget of the space.';
COMMENT ON COLUMN sessionsql.cache_space.asked_at IS
  'When a call of cache_reap last named the budget, which lapses after a day.';
COMMENT ON COLUMN sessionsql.cache_space.lap_bytes IS
  'Bytes that the hand has met and left in the lap under way.';
COMMENT ON COLUMN sessionsql.cache_space.lap_evicted_bytes IS
  'Bytes that were evicted in the lap under way.';
COMMENT ON COLUMN sessionsql.cache_space.last_lap_bytes IS 'Bytes that the hand left in the last whole lap.';
$file$;
EXECUTE $file$
-- This is the row type of cache_get_batch. Before 17, PostgreSQL cannot subtract from infinity.
CREATE OR REPLACE VIEW sessionsql.cache_live AS
SELECT
  e.key,
  e.value,
  CASE
    WHEN e.expires_at = 'infinity' THEN 'Infinity'
    ELSE date_part('epoch', e.expires_at - statement_timestamp())
  END::double precision AS expires_in
FROM sessionsql.cache_entry AS e
WHERE e.expires_at > statement_timestamp()
  AND e.value IS NOT NULL;

COMMENT ON VIEW sessionsql.cache_live IS 'A live entry of a cache.';
COMMENT ON COLUMN sessionsql.cache_live.key IS 'First 16 bytes of a hash of space and key; see cache_key.';
COMMENT ON COLUMN sessionsql.cache_live.value IS 'What the application keeps.';
COMMENT ON COLUMN sessionsql.cache_live.expires_in IS
  'Seconds left, by the server''s clock; Infinity for an entry that never expires.';
$file$;
EXECUTE $file$
-- This is the row type of cache_list. It leaves out entries whose key is not kept, and leases.
CREATE OR REPLACE VIEW sessionsql.cache_listed AS
SELECT
  e.key,
  e.plain_key,
  e.value,
  CASE
    WHEN e.expires_at = 'infinity' THEN 'Infinity'
    ELSE date_part('epoch', e.expires_at - statement_timestamp())
  END::double precision AS expires_in,
  e.space
FROM sessionsql.cache_entry AS e
WHERE e.expires_at > statement_timestamp()
  AND e.value IS NOT NULL
  AND octet_length(e.plain_key) > 0;

COMMENT ON VIEW sessionsql.cache_listed IS 'A live entry of a cache that keeps the keys as they are.';
COMMENT ON COLUMN sessionsql.cache_listed.key IS 'First 16 bytes of a hash of space and key; see cache_key.';
COMMENT ON COLUMN sessionsql.cache_listed.plain_key IS 'Key as the application names it.';
COMMENT ON COLUMN sessionsql.cache_listed.value IS 'What the application keeps.';
COMMENT ON COLUMN sessionsql.cache_listed.expires_in IS
  'Seconds left, by the server''s clock; Infinity for an entry that never expires.';
COMMENT ON COLUMN sessionsql.cache_listed.space IS 'Number of the cache; see cache_space_id.';
$file$;
EXECUTE $file$
-- This is the row type of cache_fetch_lease. No query reads it.
CREATE OR REPLACE VIEW sessionsql.cache_lease AS
SELECT
  e.value,
  0::double precision AS expires_in,
  false AS leased
FROM sessionsql.cache_entry AS e;

COMMENT ON VIEW sessionsql.cache_lease IS 'An entry, and whether the caller is to load its value.';
COMMENT ON COLUMN sessionsql.cache_lease.value IS
  'What the application keeps; null if there is no live entry.';
COMMENT ON COLUMN sessionsql.cache_lease.expires_in IS
  'Seconds left, by the server''s clock; Infinity for an entry that never expires; null if there is none.';
COMMENT ON COLUMN sessionsql.cache_lease.leased IS 'Whether the caller holds the lease now.';
$file$;
EXECUTE $file$
-- This is the row type of cache_reap. It also shows the last call to sessionsql_monitor.
CREATE OR REPLACE VIEW sessionsql.last_cache_reap AS
SELECT
  r.reaped,
  r.evicted,
  r.pages,
  r.lap_done
FROM sessionsql.cache_reaper AS r;

COMMENT ON VIEW sessionsql.last_cache_reap IS 'What one call of the cache''s reaper did.';
COMMENT ON COLUMN sessionsql.last_cache_reap.reaped IS 'Expired rows deleted, ended tombstones included.';
COMMENT ON COLUMN sessionsql.last_cache_reap.evicted IS
  'Live rows deleted, because their space is over budget.';
COMMENT ON COLUMN sessionsql.last_cache_reap.pages IS 'Pages of the table that the hand passed.';
COMMENT ON COLUMN sessionsql.last_cache_reap.lap_done IS 'Whether the call reached the end of the table.';
$file$;
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
  age(c.relfrozenxid)::bigint AS wraparound_age,
  GREATEST(e.reltuples, 0)::bigint AS cache_rows,
  pg_catalog.pg_table_size(e.oid)::bigint AS cache_heap_bytes,
  pg_catalog.pg_indexes_size(e.oid)::bigint AS cache_index_bytes,
  CASE
    WHEN NOT pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_stat_get_dead_tuples(e.oid)
  END::bigint AS cache_dead_tuples,
  CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN COALESCE(
    pg_catalog.pg_stat_get_tuples_hot_updated(e.oid)::double precision
      / NULLIF(pg_catalog.pg_stat_get_tuples_updated(e.oid), 0),
    1
  ) END::double precision AS cache_hot_ratio,
  cr.last_lap_oldest_expired AS cache_oldest_expired,
  cr.last_lap_ended_at AS cache_last_lap_ended_at
FROM pg_catalog.pg_class AS c
CROSS JOIN sessionsql.reaper AS r
CROSS JOIN pg_catalog.pg_class AS e
CROSS JOIN sessionsql.cache_reaper AS cr
WHERE c.oid = 'sessionsql.session'::regclass
  AND e.oid = 'sessionsql.cache_entry'::regclass;

COMMENT ON VIEW sessionsql.health IS 'State of the tables of sessions and cache entries in one cheap row.';
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
COMMENT ON COLUMN sessionsql.health.cache_rows IS
  'Rows of the cache as of the last vacuum or analyze, expired ones and tombstones included.';
COMMENT ON COLUMN sessionsql.health.cache_heap_bytes IS 'Bytes of the cache''s table and its TOAST table.';
COMMENT ON COLUMN sessionsql.health.cache_index_bytes IS 'Bytes of the cache''s index.';
COMMENT ON COLUMN sessionsql.health.cache_dead_tuples IS
  'Row versions of the cache that vacuum has yet to remove; null on a replica.';
COMMENT ON COLUMN sessionsql.health.cache_hot_ratio IS
  'Share of the cache''s updates that changed no index, 0 to 1. Null on a replica.';
COMMENT ON COLUMN sessionsql.health.cache_oldest_expired IS
  'Earliest expires_at that the cache''s reaper met in its last whole lap; null if none was expired.';
COMMENT ON COLUMN sessionsql.health.cache_last_lap_ended_at IS
  'Time at which the cache''s reaper last ended a lap; null if never.';
$file$;
END IF;
IF state.before_8 THEN
EXECUTE $file$
-- This is the row type of changes.
CREATE OR REPLACE VIEW sessionsql.change_feed AS
SELECT
  e.epoch::text AS epoch,
  pg_current_snapshot()::text AS snapshot,
  false AS everything,
  ARRAY[]::bigint[]::sessionsql.id_list AS ids,
  ARRAY[]::uuid[]::sessionsql.key_list AS keys
FROM sessionsql.change_epoch AS e;

COMMENT ON VIEW sessionsql.change_feed IS 'What was ended or written since a snapshot.';
COMMENT ON COLUMN sessionsql.change_feed.epoch IS 'Name of the epoch, in which no change is lost.';
COMMENT ON COLUMN sessionsql.change_feed.snapshot IS 'Snapshot to give to the next call of changes.';
COMMENT ON COLUMN sessionsql.change_feed.everything IS 'True: anything may have changed.';
COMMENT ON COLUMN sessionsql.change_feed.ids IS 'Ids of the changed sessions, some perhaps repeated.';
COMMENT ON COLUMN sessionsql.change_feed.keys IS
  'Keys of the changed near cache entries, some perhaps repeated.';
$file$;
EXECUTE $file$
-- TRUNCATE ends every cache entry, and no function sees it, as with sessions.
CREATE TRIGGER log_truncate
  AFTER TRUNCATE ON sessionsql.cache_entry
  FOR EACH STATEMENT
  EXECUTE FUNCTION sessionsql.log_truncate();

INSERT INTO sessionsql.migration (id, name) VALUES (8, 'near_entries');
$file$;
END IF;
IF state.before_9 THEN
EXECUTE $file$
-- These functions say which sessions and cache entries this primary owns: all of them, until sessionsql.shard
-- replaces the bodies. They are here and not in functions/, because an upgrade would otherwise make a shard
-- answer for everything again. The planner inlines them, so a primary without shards pays nothing for them.
CREATE FUNCTION sessionsql.is_home(id bigint)
RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1
BEGIN ATOMIC
  SELECT true;
END;

COMMENT ON FUNCTION sessionsql.is_home(bigint) IS 'Returns whether this primary owns a session; see shard.';

CREATE FUNCTION sessionsql.is_home(key uuid)
RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1
BEGIN ATOMIC
  SELECT true;
END;

COMMENT ON FUNCTION sessionsql.is_home(uuid) IS 'Returns whether this primary owns a cache entry; see shard.';

INSERT INTO sessionsql.migration (id, name) VALUES (9, 'shard');
$file$;
END IF;
EXECUTE $file$
-- The shard of a session is the low bits of its id. That of an entry is those of the last byte of its key,
-- which spreads entries evenly, because a key is a hash. So there are as many shards as a byte has values, at
-- most. Each body is one expression, so that the planner inlines it.
CREATE OR REPLACE FUNCTION sessionsql.shard_of(id bigint)
RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1
BEGIN ATOMIC
  SELECT (COALESCE(shard_of.id, 0) & 255)::integer;
END;

COMMENT ON FUNCTION sessionsql.shard_of(bigint) IS
  'Returns a number whose low bits are the shard of a session, 0 to 255; 0 for null.';

CREATE OR REPLACE FUNCTION sessionsql.shard_of(key uuid)
RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1
BEGIN ATOMIC
  SELECT COALESCE(get_byte(uuid_send(shard_of.key), 15), 0);
END;

COMMENT ON FUNCTION sessionsql.shard_of(uuid) IS
  'Returns a number whose low bits are the shard of a cache entry, 0 to 255; 0 for null.';
$file$;
EXECUTE $file$
-- A primary that does not own a session must never say that there is no such session, because its owner may
-- have it. The SQLSTATE is the bundle's own, so that a client tells it from every other error.
CREATE OR REPLACE FUNCTION sessionsql.elsewhere(asked anyelement)
RETURNS anyelement
LANGUAGE plpgsql STABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 10
SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
  RAISE EXCEPTION USING
    ERRCODE = 'SQ001',
    MESSAGE = format(
      'sessionsql: this %s belongs to another primary',
      CASE
        WHEN pg_typeof(elsewhere.asked) IN ('uuid'::regtype, 'uuid[]'::regtype) THEN 'cache entry'
        ELSE 'session'
      END
    ),
    HINT = 'Send the call to its owner, or through a router: see sessionsql.shard_of.';
END
$function$;

COMMENT ON FUNCTION sessionsql.elsewhere(anyelement) IS
  'Raises SQLSTATE SQ001, because another primary owns what was asked for.';
$file$;
EXECUTE $file$
-- Every function that takes an id or a key passes it through here, inside the statement that reads or writes
-- the row. That statement holds a lock of the table, for which sessionsql.shard waits. So no write that began
-- under the old ownership lands after the new one. A batch is refused as a whole. A null, which a malformed
-- token gives, finds no row anywhere.
--
-- The function has no SET clause and is not STRICT, so that the planner inlines it. Where this primary owns
-- everything, nothing but the argument is left. For an array that would not hold, so touch_batch and
-- cache_delete_batch ask is_home about its elements themselves.
CREATE OR REPLACE FUNCTION sessionsql.at_home(id bigint)
RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1
BEGIN ATOMIC
  SELECT CASE
    WHEN sessionsql.is_home(at_home.id) OR at_home.id IS NULL THEN at_home.id
    ELSE sessionsql.elsewhere(at_home.id)
  END;
END;

COMMENT ON FUNCTION sessionsql.at_home(bigint) IS
  'Returns the id of a session that this primary owns, and raises SQLSTATE SQ001 for any other.';

CREATE OR REPLACE FUNCTION sessionsql.at_home(key uuid)
RETURNS uuid
LANGUAGE sql STABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1
BEGIN ATOMIC
  SELECT CASE
    WHEN sessionsql.is_home(at_home.key) OR at_home.key IS NULL THEN at_home.key
    ELSE sessionsql.elsewhere(at_home.key)
  END;
END;

COMMENT ON FUNCTION sessionsql.at_home(uuid) IS
  'Returns the key of a cache entry that this primary owns, and raises SQLSTATE SQ001 for any other.';
$file$;
EXECUTE $file$
-- A router calls this after each call that goes to all shards, because a shard that has joined since the
-- router read its map was not asked. It asks is_home, which alone knows the shard.
CREATE OR REPLACE FUNCTION sessionsql.shards()
RETURNS integer
LANGUAGE sql STABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
BEGIN ATOMIC
  SELECT (count(*) / NULLIF(count(*) FILTER (WHERE sessionsql.is_home(b.bits)), 0))::integer
  FROM generate_series(0::bigint, 255) AS b (bits);
END;

COMMENT ON FUNCTION sessionsql.shards() IS
  'Returns the number of shards of which this primary owns one, or null if it owns none.';
$file$;
EXECUTE $file$
-- This makes a primary one of several, each of which owns the sessions whose id has its number in the low
-- bits, and the cache entries whose key has; see shard_of. New ids then have these bits too. A null shard
-- owns nothing, which is for a primary that is being filled. shard(1, 0) owns everything again.
--
-- Promises: when it has committed, no write of a session or entry that this primary no longer owns is under
-- way or will be done, because it waits for the writers and keeps others out meanwhile. All calls for these
-- raise SQLSTATE SQ001 from then on. Rows that this primary does not own stay where they are, and lists and
-- counts leave them out. A crash, a failover and an upgrade keep the shard, because it is in the catalog and
-- the commit is synchronous. Connections drop ids that they hold in stock, so no new session gets an id of
-- another shard.
--
-- The lock times out, because everybody who writes waits behind it. Run it again then.
CREATE OR REPLACE FUNCTION sessionsql.shard(shards integer, shard integer)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 10000
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '1s'
AS $function$
DECLARE
  mask CONSTANT integer := shard.shards - 1;
  last_id bigint;
  first_id bigint;
BEGIN
  IF (mask BETWEEN 0 AND 255 AND shard.shards & mask = 0) IS NOT TRUE THEN
    RAISE invalid_parameter_value USING
      MESSAGE = 'sessionsql.shard: shards must be a power of two, and shards - 1 at most 255';
  ELSIF shard.shard NOT BETWEEN 0 AND mask THEN
    RAISE invalid_parameter_value USING
      MESSAGE = 'sessionsql.shard: shard must be at least 0 and less than shards, or null for none';
  ELSIF EXISTS (SELECT FROM pg_extension AS e WHERE e.extname = 'sessionsql') THEN
    -- pg_dump leaves out the functions of an extension, so a restored shard would answer for all sessions.
    RAISE feature_not_supported USING
      MESSAGE = 'sessionsql.shard: a bundle that is an extension cannot be a shard',
      HINT = 'Install it with sql/install.sql, because a dump of an extension does not hold the shard.';
  END IF;

  PERFORM sessionsql.commit_synchronously();
  LOCK TABLE sessionsql.session, sessionsql.cache_entry IN EXCLUSIVE MODE;
  EXECUTE format(
    $statement$
    CREATE OR REPLACE FUNCTION sessionsql.is_home(id bigint)
    RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1
    BEGIN ATOMIC
      SELECT %1$s;
    END;
    CREATE OR REPLACE FUNCTION sessionsql.is_home(key uuid)
    RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1
    BEGIN ATOMIC
      SELECT %2$s;
    END;
    $statement$,
    CASE
      WHEN shard.shard IS NULL THEN 'false'
      WHEN mask = 0 THEN 'true'
      ELSE format('is_home.id & %s = %s', mask, shard.shard)
    END,
    CASE
      WHEN shard.shard IS NULL THEN 'false'
      WHEN mask = 0 THEN 'true'
      ELSE format('sessionsql.shard_of(is_home.key) & %s = %s', mask, shard.shard)
    END
  );

  -- Programs forget what they keep in memory, because nobody tells them here what the new owner changes.
  INSERT INTO sessionsql.change (ids) VALUES (NULL);

  -- A restart replaces the file of the sequence, and by that a connection knows that its stock is no longer
  -- good. It begins behind the ids of all rows, also of those that came from another primary.
  SELECT GREATEST(s.last_value, (SELECT max(r.id) FROM sessionsql.session AS r)) INTO last_id
  FROM sessionsql.session_id_seq AS s;
  first_id := (last_id | mask) + 1 + COALESCE(shard.shard, 0);
  EXECUTE format(
    'ALTER SEQUENCE sessionsql.session_id_seq INCREMENT BY %s RESTART WITH %s', shard.shards, first_id
  );
END
$function$;

COMMENT ON FUNCTION sessionsql.shard(integer, integer) IS
  'Makes this primary own one shard of so many, all of them (1, 0), or none (null shard). For its owner.';
$file$;
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
            AND sessionsql.is_home(e.id)
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
  RETURNING sessionsql.at_home(s.id) INTO new_id;

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
  RETURNING sessionsql.at_home(s.id), s.secret_hash;
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
  WHERE s.id = sessionsql.at_home(open_session.id)
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
    WHERE s.id = sessionsql.at_home(k.id)
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
    WHERE s.id = ANY (
        CASE
          WHEN EXISTS (
            SELECT FROM unnest(touch_batch.ids) AS t (id) WHERE NOT sessionsql.is_home(t.id)
          ) THEN sessionsql.elsewhere(touch_batch.ids)
          ELSE touch_batch.ids
        END
      )
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
  WHERE s.id = sessionsql.at_home(update_payload.id)
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
    JOIN sessionsql.session AS s ON s.id = sessionsql.at_home(w.id)
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
  )
  SELECT
    w.id,
    w.version
  FROM written AS w;

  -- The log may name sessions that were not written. To pick those that were would take longer.
  IF FOUND THEN
    INSERT INTO sessionsql.change (ids) VALUES (update_payload_batch.ids);
  END IF;
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

  IF current_setting('synchronous_commit') = 'off' THEN -- as in revoke
    PERFORM sessionsql.commit_synchronously();
  END IF;
  IF rotate.max_sessions IS NOT NULL THEN
    -- This also locks the session's own row, so that all locks are taken in id order.
    excess := sessionsql.lock_excess(rotate.subject, rotate.max_sessions, rotate.id);
  END IF;

  SELECT s.expires_at INTO expiry
  FROM sessionsql.session AS s
  WHERE s.id = sessionsql.at_home(rotate.id)
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
  expiry timestamptz;
  grace_end timestamptz;
BEGIN
  -- The call would take a fifth of the time of this function, and most callers commit synchronously anyway.
  IF current_setting('synchronous_commit') = 'off' THEN
    PERFORM sessionsql.commit_synchronously();
  END IF;

  DELETE FROM sessionsql.session AS s
  WHERE s.id = sessionsql.at_home(revoke.id)
    AND s.secret_hash = revoke.secret_hash
  RETURNING s.expires_at INTO expiry;

  IF NOT FOUND THEN
    -- The row is locked before it is judged, because the previous secret's grace may end during the wait.
    SELECT
      s.expires_at,
      s.previous_until
    INTO expiry, grace_end
    FROM sessionsql.session AS s
    WHERE s.id = sessionsql.at_home(revoke.id)
      AND s.previous_hash = revoke.secret_hash
    FOR UPDATE OF s;
    IF (grace_end > clock_timestamp()) IS NOT TRUE THEN
      RETURN false;
    END IF;
    DELETE FROM sessionsql.session AS s
    WHERE s.id = revoke.id;
  END IF;

  INSERT INTO sessionsql.change (ids) VALUES (ARRAY[revoke.id]);
  RETURN expiry > clock_timestamp();
END
$function$;

COMMENT ON FUNCTION sessionsql.revoke(bigint, bytea) IS
  'Revokes a session and returns whether it was alive. Commits synchronously.';
$file$;
EXECUTE $file$
-- Concurrent logouts of an application share one round trip, one commit record and one row of the log.
--
-- The result has the ids of the sessions that were ended. Another one was not ended, because it is not alive,
-- opens by its previous secret alone, or is locked by another transaction. revoke then ends it, or says that
-- there is none. Pass each id once, because a row carries its id and not its hash.
--
-- Promises: what revoke promises, and never waits for a row, so it cannot deadlock under any plan.
CREATE OR REPLACE FUNCTION sessionsql.revoke_batch(ids bigint[], secret_hashes bytea[])
RETURNS SETOF bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1000 ROWS 64
SET search_path = pg_catalog, pg_temp
-- This keeps one plan for batches of any length, and leaves only plans that find each row by its id; see
-- update_payload_batch.
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $function$
DECLARE
  revoked bigint[];
BEGIN
  PERFORM sessionsql.commit_synchronously();

  WITH mine AS MATERIALIZED (
    SELECT
      s.id,
      k.secret_hash
    FROM unnest(revoke_batch.ids, revoke_batch.secret_hashes) AS k (id, secret_hash)
    JOIN sessionsql.session AS s ON s.id = sessionsql.at_home(k.id)
    WHERE s.secret_hash = k.secret_hash
      AND s.expires_at > clock_timestamp()
    FOR UPDATE OF s SKIP LOCKED
  ), ended AS (
    DELETE FROM sessionsql.session AS s
    USING mine AS m
    WHERE s.id = m.id
      AND s.secret_hash = m.secret_hash
      AND s.expires_at > clock_timestamp()
    RETURNING s.id
  )
  SELECT array_agg(e.id)
  INTO revoked
  FROM ended AS e;

  IF revoked IS NOT NULL THEN
    INSERT INTO sessionsql.change (ids) VALUES (revoked);
    RETURN QUERY SELECT unnest(revoked);
  END IF;
END
$function$;

COMMENT ON FUNCTION sessionsql.revoke_batch(bigint[], bytea[]) IS
  'Revokes sessions and returns the ids of those that it ended. Commits synchronously.';
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
  WHERE l.id = sessionsql.at_home(revoke_listed.listed_id)
    AND s.id = sessionsql.at_home(revoke_listed.id)
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
-- A router calls this for revoke_listed, because the two sessions may be on two shards: it has looked the
-- presented one up, and passes its subject. Whoever may call this may call revoke_subject as well.
--
-- Promises the same as revoke.
CREATE OR REPLACE FUNCTION sessionsql.revoke_listed_of(subject text, listed_id bigint)
RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  expiry timestamptz;
BEGIN
  PERFORM sessionsql.commit_synchronously();

  DELETE FROM sessionsql.session AS l
  WHERE l.id = sessionsql.at_home(revoke_listed_of.listed_id)
    AND l.subject = revoke_listed_of.subject COLLATE "default"
  RETURNING l.expires_at INTO expiry;

  IF FOUND THEN
    INSERT INTO sessionsql.change (ids) VALUES (ARRAY[revoke_listed_of.listed_id]);
  END IF;
  RETURN (expiry > clock_timestamp()) IS TRUE;
END
$function$;

COMMENT ON FUNCTION sessionsql.revoke_listed_of(text, bigint) IS
  'Revokes one session of a subject and returns whether it was alive. Commits synchronously.';
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
    RETURNING s.id, s.expires_at
  )
  SELECT count(*) INTO revoked
  FROM deleted AS d
  WHERE d.expires_at > clock_timestamp()
    AND sessionsql.is_home(d.id);

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
    AND sessionsql.is_home(s.id)
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
-- A program that keeps sessions and cache entries in memory calls this several times a second on the primary,
-- and forgets those that it returns. It gives the snapshot of its last call, and null at first.
--
-- Promises: each change is returned exactly once, to the first call that begins after its commit. One
-- statement reads the rows and the snapshot, so the rows that it does not see are those of the transactions
-- that the next call finds outside of this snapshot. Numbers of transactions or of a sequence would lose
-- changes, because transactions commit in another order.
--
-- If the epoch is another than that of the last call, changes may be lost, and the caller forgets
-- all. No row means that the caller forgets all and that no epoch is under way; this call has then begun
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
    SELECT c.ids, c.keys
    FROM sessionsql.change AS c
    WHERE c.xid >= pg_snapshot_xmax(changes.last)
    UNION ALL
    SELECT c.ids, c.keys
    FROM sessionsql.change AS c
    WHERE c.xid = ANY (ARRAY(SELECT pg_snapshot_xip(changes.last)))
  )
  SELECT
    e.epoch::text,
    pg_current_snapshot()::text,
    EXISTS (SELECT FROM missed AS m WHERE m.ids IS NULL AND m.keys IS NULL)
      OR COALESCE(pg_snapshot_xmin(changes.last) < e.purged_before, false),
    ARRAY(
      SELECT u.id
      FROM missed AS m
      CROSS JOIN unnest(m.ids) AS u (id)
      WHERE u.id IS NOT NULL
    )::sessionsql.id_list,
    ARRAY(SELECT u.key FROM missed AS m CROSS JOIN unnest(m.keys) AS u (key))::sessionsql.key_list
  FROM sessionsql.change_epoch AS e
  WHERE e.singleton
    AND e.life = sessionsql.change_life();

  IF NOT FOUND THEN
    PERFORM sessionsql.begin_change_epoch();
  END IF;
END
$function$;

COMMENT ON FUNCTION sessionsql.changes(pg_snapshot) IS
  'Returns what has changed since a snapshot, and the snapshot for the next call; or no row.';
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
-- This is the clock hand of reap and cache_reap, which state its promises. It takes the names of a table, of
-- the column of its key, and of the table with the hand's position. Null means that another reaper is at
-- work.
CREATE OR REPLACE FUNCTION sessionsql.sweep(
  swept regclass,
  key name,
  hand regclass,
  max_rows integer,
  max_pages integer
)
RETURNS sessionsql.last_reap
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 10000
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
  EXECUTE format(
    'SELECT r.next_page FROM %s AS r WHERE r.singleton FOR NO KEY UPDATE OF r SKIP LOCKED', sweep.hand
  ) INTO first_page;
  IF first_page IS NULL THEN
    RETURN NULL;
  END IF;

  table_pages := pg_relation_size(sweep.swept) / current_setting('block_size')::bigint;
  IF first_page >= table_pages THEN
    first_page := 0;
  END IF;
  end_page := LEAST(first_page + sweep.max_pages, table_pages);

  -- Rows are locked in the order of the scan, because sorting by key would have to find every expired row of
  -- the range first. No order can deadlock, because nothing here waits. The DELETE finds its rows by key,
  -- because a row that has moved has another ctid.
  EXECUTE format(
    $statement$
    WITH expired AS MATERIALIZED (
      SELECT s.%2$I AS key, s.ctid
      FROM %1$s AS s
      WHERE s.ctid >= $1
        AND s.ctid < $2
        AND s.expires_at <= statement_timestamp()
      LIMIT $3
      FOR UPDATE OF s SKIP LOCKED
    ), deleted AS (
      DELETE FROM %1$s AS s
      USING expired AS e
      WHERE s.%2$I = e.key
        AND s.expires_at <= statement_timestamp()
      RETURNING s.expires_at
    )
    SELECT
      (SELECT count(*) FROM expired AS e),
      (SELECT max(e.ctid) FROM expired AS e),
      count(*),
      min(d.expires_at)
    FROM deleted AS d
    $statement$,
    sweep.swept,
    sweep.key
  )
  INTO found_rows, last_tid, result.reaped, oldest
  USING ('(' || first_page || ',0)')::tid, ('(' || end_page || ',0)')::tid, sweep.max_rows;

  -- The scan stopped at max_rows. The page of the last row may hold more, so the next call starts there.
  IF found_rows >= sweep.max_rows THEN
    end_page := LEAST(end_page, split_part(ltrim(last_tid::text, '('), ',', 1)::bigint + 1);
    result.pages := end_page - first_page;
    end_page := end_page - 1;
  ELSE
    result.pages := end_page - first_page;
  END IF;
  result.lap_done := end_page >= table_pages;

  EXECUTE format(
    $statement$
    UPDATE %s AS r
    SET next_page = CASE WHEN $3 THEN 0 ELSE $4 END,
        reaped = $1,
        pages = $2,
        lap_done = $3,
        oldest_expired = CASE WHEN $3 THEN NULL ELSE LEAST(r.oldest_expired, $5) END,
        last_lap_oldest_expired =
          CASE WHEN $3 THEN LEAST(r.oldest_expired, $5) ELSE r.last_lap_oldest_expired END,
        last_lap_ended_at = CASE WHEN $3 THEN statement_timestamp() ELSE r.last_lap_ended_at END
    WHERE r.singleton
    $statement$,
    sweep.hand
  )
  USING result.reaped, result.pages, result.lap_done, end_page, oldest;
  RETURN result;
END
$function$;

COMMENT ON FUNCTION sessionsql.sweep(regclass, name, regclass, integer, integer) IS
  'Deletes expired rows of a table from the next pages; returns counts, or null beside another reaper.';
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
AS $function$
DECLARE
  result sessionsql.last_reap;
BEGIN
  IF (reap.max_rows > 0 AND reap.max_pages > 0) IS NOT TRUE THEN
    RAISE invalid_parameter_value USING MESSAGE = 'sessionsql.reap: max_rows and max_pages must be positive';
  END IF;

  -- This is first, because the hand's lock counts as a write.
  PERFORM sessionsql.commit_asynchronously(reap.durable);

  result := sessionsql.sweep(
    'sessionsql.session', 'id', 'sessionsql.reaper', reap.max_rows, reap.max_pages
  );
  IF result IS NOT NULL THEN
    PERFORM sessionsql.purge_changes();
    RETURN NEXT result;
  END IF;
END
$function$;

COMMENT ON FUNCTION sessionsql.reap(integer, integer, boolean) IS
  'Deletes expired sessions from the next pages; returns counts. Commits asynchronously unless durable.';
$file$;
EXECUTE $file$
-- cron cannot loop, so the loop is here. Each call of reap, with one of cache_reap, has its own transaction.
-- The loop ends when both hands have reached the end of their tables twice, because they have then passed
-- every page. A hand of another reaper counts as done. The loop also ends after max_calls.
--
-- It commits, so it cannot run in a transaction block. A procedure that commits may have no SET clause, so
-- every name below is qualified.
CREATE OR REPLACE PROCEDURE sessionsql.reap_all(max_calls integer DEFAULT 100)
LANGUAGE plpgsql SECURITY INVOKER
AS $procedure$
DECLARE
  laps integer := 0;
  cache_laps integer := 0;
  lap_done boolean;
BEGIN
  IF (reap_all.max_calls OPERATOR(pg_catalog.>) 0) IS NOT TRUE THEN
    RAISE invalid_parameter_value USING MESSAGE = 'sessionsql.reap_all: max_calls must be positive';
  END IF;

  FOR i IN 1 .. reap_all.max_calls LOOP
    IF laps OPERATOR(pg_catalog.<) 2 THEN
      SELECT r.lap_done INTO lap_done
      FROM sessionsql.reap() AS r;
      laps := laps OPERATOR(pg_catalog.+)
        CASE WHEN lap_done THEN 1 WHEN lap_done IS NULL THEN 2 ELSE 0 END;
    END IF;
    IF cache_laps OPERATOR(pg_catalog.<) 2 THEN
      SELECT r.lap_done INTO lap_done
      FROM sessionsql.cache_reap() AS r;
      cache_laps := cache_laps OPERATOR(pg_catalog.+)
        CASE WHEN lap_done THEN 1 WHEN lap_done IS NULL THEN 2 ELSE 0 END;
    END IF;
    COMMIT;
    EXIT WHEN laps OPERATOR(pg_catalog.>=) 2 AND cache_laps OPERATOR(pg_catalog.>=) 2;
  END LOOP;
END
$procedure$;

COMMENT ON PROCEDURE sessionsql.reap_all(integer) IS
  'Calls reap and cache_reap until nothing expired is left, one transaction per call. For cron.';
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
EXECUTE $file$
-- A tombstone outlives every request that was under way when its entry was deleted.
CREATE OR REPLACE FUNCTION sessionsql.tombstone_lifetime()
RETURNS interval
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT SECURITY INVOKER COST 1
BEGIN ATOMIC
  SELECT '1 hour'::interval;
END;

COMMENT ON FUNCTION sessionsql.tombstone_lifetime() IS 'Returns how long a final delete refuses later sets.';
$file$;
EXECUTE $file$
-- A negative TTL is good, because it means that the entry is dead already. NaN is greater than all numbers.
-- The function has no SET clause and is not STRICT, so that the planner inlines it.
CREATE OR REPLACE FUNCTION sessionsql.is_ttl(seconds double precision)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1
BEGIN ATOMIC
  SELECT COALESCE(
    is_ttl.seconds > '-Infinity'::double precision AND is_ttl.seconds <= sessionsql.max_timeout(),
    true
  );
END;

COMMENT ON FUNCTION sessionsql.is_ttl(double precision) IS
  'Returns whether a TTL in seconds is a number of at most 100 years, or null for an entry without expiry.';
$file$;
EXECUTE $file$
-- The functions that write an entry refuse bad input here, because a NOT NULL violation in the table would
-- print the whole row. No message repeats a value.
CREATE OR REPLACE FUNCTION sessionsql.check_entry(
  caller text,
  key uuid,
  space integer,
  value bytea,
  ttl_seconds double precision
)
RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 10
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  problem CONSTANT text := CASE
    WHEN check_entry.key IS NULL THEN 'key must not be null'
    WHEN check_entry.space IS NULL THEN 'space must not be null'
    WHEN check_entry.value IS NULL THEN 'value must not be null'
    WHEN NOT sessionsql.is_ttl(check_entry.ttl_seconds) THEN 'ttl must be at most 100 years, or null for none'
  END;
BEGIN
  IF problem IS NOT NULL THEN
    RAISE invalid_parameter_value USING MESSAGE = format('sessionsql.%s: %s', check_entry.caller, problem);
  END IF;
END
$function$;

COMMENT ON FUNCTION sessionsql.check_entry(text, uuid, integer, bytea, double precision) IS
  'Raises an error that names a bad part of an entry, but never its value.';
$file$;
EXECUTE $file$
-- A budget counts these bytes: value and plain key as they are stored, so compressed, and 120 for the rest of
-- the row, its entry in the index and the free space of both. The body is one expression, so that the planner
-- inlines it.
CREATE OR REPLACE FUNCTION sessionsql.entry_bytes(value bytea, plain_key bytea)
RETURNS integer
LANGUAGE sql STABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1
BEGIN ATOMIC
  SELECT 120 + COALESCE(pg_column_size(entry_bytes.value), 0)
    + COALESCE(pg_column_size(entry_bytes.plain_key), 0);
END;

COMMENT ON FUNCTION sessionsql.entry_bytes(bytea, bytea) IS
  'Returns the bytes of an entry that a budget counts.';
$file$;
EXECUTE $file$
-- An entry expires exactly when its caller says, unlike a session, which gets a third more. A TTL that is
-- over already makes an entry that is dead at once. The function has no SET clause and is not STRICT, so that
-- the planner inlines it.
CREATE OR REPLACE FUNCTION sessionsql.cache_expiry(ttl_seconds double precision)
RETURNS timestamptz
LANGUAGE sql VOLATILE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1
BEGIN ATOMIC
  SELECT sessionsql.deadline_after(
    CASE WHEN cache_expiry.ttl_seconds < 0 THEN 0 ELSE cache_expiry.ttl_seconds END
  );
END;

COMMENT ON FUNCTION sessionsql.cache_expiry(double precision) IS
  'Returns the expiry of an entry that is set now; infinity for a null TTL.';
$file$;
EXECUTE $file$
-- A row carries this number instead of the name of its cache. The limit of 63 bytes is that of PostgreSQL's
-- own names.
CREATE OR REPLACE FUNCTION sessionsql.cache_space_id(space text)
RETURNS integer
LANGUAGE plpgsql STABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 10
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  name CONSTANT bytea := convert_to(cache_space_id.space, 'UTF8');
BEGIN
  IF (octet_length(name) BETWEEN 1 AND 63) IS NOT TRUE THEN
    RAISE invalid_parameter_value USING
      MESSAGE = 'sessionsql.cache_space_id: the name of a space must have 1 to 63 bytes';
  END IF;
  RETURN ('x' || encode(substr(sha256(name), 1, 4), 'hex'))::bit(32)::integer;
END
$function$;

COMMENT ON FUNCTION sessionsql.cache_space_id(text) IS
  'Returns the number of a space: the first 4 bytes of SHA-256 of its name in UTF-8.';
$file$;
EXECUTE $file$
-- Programs may keep cache entries in memory whose space has a name that begins with "near:". The key of such
-- an entry is not below this one; see cache_key. So each function that writes knows from the keys alone
-- whether the change log needs them, and all writers agree, whatever their options. One other key in 65,536
-- is in the log for nothing.
CREATE OR REPLACE FUNCTION sessionsql.first_near_key()
RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1
BEGIN ATOMIC
  SELECT 'ffff0000-0000-0000-0000-000000000000'::uuid;
END;

COMMENT ON FUNCTION sessionsql.first_near_key() IS
  'Returns the lowest key of a cache entry that programs may keep in memory.';
$file$;
EXECUTE $file$
-- The functions that write cache entries call this if a key is not below first_near_key(). A delete logs the
-- keys without a row too, because an evicted entry may still be in the memory of a program.
--
-- A clear of a large space is logged as a change of everything, because every program reads each key.
CREATE OR REPLACE FUNCTION sessionsql.log_entries(keys uuid[])
RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
BEGIN ATOMIC
  INSERT INTO sessionsql.change (keys)
  SELECT CASE WHEN count(*) <= 10000 THEN array_agg(k.key) END
  FROM unnest(log_entries.keys) AS k (key)
  WHERE k.key >= sessionsql.first_near_key()
  HAVING count(*) > 0;
END;

COMMENT ON FUNCTION sessionsql.log_entries(uuid[]) IS
  'Adds the keys of near cache entries to the change log.';
$file$;
EXECUTE $file$
-- Go computes the same keys. The hash of the key inside gives each space and key one text to be hashed, so
-- that no two of them share one. A hash hides a random key, but not one that can be guessed.
--
-- The keys of a space whose name begins with "near:" begin with two bytes of ones; see first_near_key.
CREATE OR REPLACE FUNCTION sessionsql.cache_key(space text, key bytea)
RETURNS uuid
LANGUAGE plpgsql STABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 10
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  hash bytea;
BEGIN
  IF (octet_length(cache_key.key) > 0) IS NOT TRUE THEN
    RAISE invalid_parameter_value USING MESSAGE = 'sessionsql.cache_key: key must not be empty or null';
  END IF;
  hash := sha256(int4send(sessionsql.cache_space_id(cache_key.space)) || sha256(cache_key.key));
  IF starts_with(cache_key.space, 'near:') THEN
    hash := overlay(hash PLACING decode('ffff', 'hex') FROM 1);
  END IF;
  RETURN encode(substr(hash, 1, 16), 'hex')::uuid;
END
$function$;

COMMENT ON FUNCTION sessionsql.cache_key(text, bytea) IS
  'Returns 16 bytes of SHA-256 of the number of the space and SHA-256 of the key.';

-- This overload is for keys that are text.
CREATE OR REPLACE FUNCTION sessionsql.cache_key(space text, key text)
RETURNS uuid
LANGUAGE sql STABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 10
BEGIN ATOMIC
  SELECT sessionsql.cache_key(cache_key.space, convert_to(cache_key.key, 'UTF8'));
END;

COMMENT ON FUNCTION sessionsql.cache_key(text, text) IS
  'Returns the key of a space and a text, which is hashed in UTF-8.';
$file$;
EXECUTE $file$
-- The lease of an entry is an entry too. Programs in all languages must find it by the same key.
CREATE OR REPLACE FUNCTION sessionsql.cache_lease_key(key uuid)
RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 10
BEGIN ATOMIC
  SELECT encode(substr(sha256(uuid_send(cache_lease_key.key)), 1, 16), 'hex')::uuid;
END;

COMMENT ON FUNCTION sessionsql.cache_lease_key(uuid) IS
  'Returns the key of an entry''s lease: the first 16 bytes of SHA-256 of the entry''s key.';
$file$;
EXECUTE $file$
-- A key without a live entry yields no row. Like lookup_batch, this is a pure SELECT that runs on a replica
-- and is inlined, and its prepared plan finds each row by its key; the reasons stand there.
CREATE OR REPLACE FUNCTION sessionsql.cache_get_batch(keys uuid[])
RETURNS SETOF sessionsql.cache_live
LANGUAGE sql STABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100 ROWS 64
BEGIN ATOMIC
  SELECT
    o.key,
    o.value,
    o.expires_in
  FROM unnest((SELECT cache_get_batch.keys)) AS k (key)
  CROSS JOIN LATERAL (
    SELECT *
    FROM sessionsql.cache_live AS l
    WHERE l.key = sessionsql.at_home(k.key)
    OFFSET 0
  ) AS o;
END;

COMMENT ON FUNCTION sessionsql.cache_get_batch(uuid[]) IS
  'Returns the live entries of these keys, in any order.';
$file$;
EXECUTE $file$
-- Each array has one element for each entry. A null TTL means that the entry never expires. Of two entries
-- with one key the last one wins. One bad element fails the whole statement.
--
-- With a slack, an entry is not written, nor even locked, if it has the same value and expires at most that
-- much earlier than asked for, or at most a tenth of a second later. A third of the TTL is the most that
-- counts, because an entry in use would die otherwise.
--
-- The result holds the keys that were refused, because a final delete has left a tombstone there.
--
-- Promises: the expiry is exact. Rows are locked in the order of their keys, as in cache_delete_batch, so
-- that no two calls wait for each other. Commits asynchronously unless durable.
CREATE OR REPLACE FUNCTION sessionsql.cache_set_batch(
  keys uuid[],
  spaces integer[],
  entry_values bytea[],
  ttl_seconds double precision[],
  plain_keys bytea[] DEFAULT NULL,
  slack_seconds double precision[] DEFAULT NULL,
  durable boolean DEFAULT false
)
RETURNS SETOF uuid
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1000 ROWS 1
SET search_path = pg_catalog, pg_temp
-- This keeps one plan for batches of any length; see lookup_batch. The settings leave only plans that find
-- each row by its key, and the refused keys by a hash.
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_nestloop = off
AS $function$
DECLARE
  size CONSTANT integer := cardinality(cache_set_batch.keys);
BEGIN
  IF current_setting('array_nulls') = 'off' AND 'NULL'::bytea = ANY (cache_set_batch.plain_keys) THEN
    -- With array_nulls off, a null in the text of an array has become the word NULL, and so a plain key.
    RAISE invalid_parameter_value USING
      MESSAGE = 'sessionsql.cache_set_batch: the setting array_nulls must be on';
  END IF;
  -- unnest pads shorter arrays with nulls, and a null TTL is good.
  IF (
    size = ALL (ARRAY[
      cardinality(cache_set_batch.spaces),
      cardinality(cache_set_batch.entry_values),
      cardinality(cache_set_batch.ttl_seconds),
      COALESCE(cardinality(cache_set_batch.plain_keys), size),
      COALESCE(cardinality(cache_set_batch.slack_seconds), size)
    ])
  ) IS NOT TRUE THEN
    RAISE invalid_parameter_value USING
      MESSAGE = 'sessionsql.cache_set_batch: the arrays must not be null and must have one length';
  END IF;
  -- This test costs little, because a comparison takes a whole array; a null element makes it null. Only the
  -- checks within know which element is bad.
  IF (
    '00000000-0000-0000-0000-000000000000' <= ALL (cache_set_batch.keys)
    AND -2147483648 <= ALL (cache_set_batch.spaces)
    AND '' <= ALL (cache_set_batch.entry_values)
    AND ('-Infinity' < ALL (cache_set_batch.ttl_seconds)) IS NOT FALSE
    AND (sessionsql.max_timeout() >= ALL (cache_set_batch.ttl_seconds)) IS NOT FALSE
    AND (0 <= ALL (cache_set_batch.slack_seconds)) IS NOT FALSE
    AND (sessionsql.max_timeout() >= ALL (cache_set_batch.slack_seconds)) IS NOT FALSE
  ) IS NOT TRUE THEN
    IF EXISTS (
      SELECT
      FROM unnest(cache_set_batch.slack_seconds) AS s (slack)
      WHERE NOT (s.slack >= 0 AND s.slack <= sessionsql.max_timeout())
    ) THEN
      RAISE invalid_parameter_value USING
        MESSAGE = 'sessionsql.cache_set_batch: slack must be at least 0 and at most 100 years, or null';
    END IF;
    PERFORM sessionsql.check_entry('cache_set_batch', n.key, n.space, n.value, n.ttl)
    FROM unnest(
      cache_set_batch.keys,
      cache_set_batch.spaces,
      cache_set_batch.entry_values,
      cache_set_batch.ttl_seconds
    ) AS n (key, space, value, ttl)
    WHERE n.key IS NULL OR n.space IS NULL OR n.value IS NULL OR NOT sessionsql.is_ttl(n.ttl);
  END IF;

  PERFORM sessionsql.commit_asynchronously(cache_set_batch.durable);

  RETURN QUERY
  WITH due AS MATERIALIZED (
    SELECT g.*
    FROM (
      SELECT DISTINCT ON (u.key)
        sessionsql.at_home(u.key) AS key,
        u.space,
        sessionsql.cache_expiry(u.ttl) AS expires_at,
        u.value,
        u.plain_key,
        CASE WHEN u.slack > u.ttl / 3 THEN u.ttl / 3 ELSE u.slack END AS slack
      FROM unnest(
        cache_set_batch.keys,
        cache_set_batch.spaces,
        cache_set_batch.entry_values,
        cache_set_batch.ttl_seconds,
        cache_set_batch.plain_keys,
        cache_set_batch.slack_seconds
      ) WITH ORDINALITY AS u (key, space, value, ttl, plain_key, slack, position)
      ORDER BY u.key, u.position DESC
    ) AS g
    WHERE CASE WHEN g.slack > 0 THEN (
      SELECT e.value = g.value
        AND e.plain_key IS NOT DISTINCT FROM g.plain_key
        AND e.expires_at > clock_timestamp()
        AND e.expires_at >= g.expires_at - make_interval(secs => g.slack)
        AND e.expires_at <= g.expires_at + make_interval(secs => LEAST(g.slack, 0.1))
      FROM sessionsql.cache_entry AS e
      WHERE e.key = g.key
    ) END IS NOT TRUE
  ), written AS (
    INSERT INTO sessionsql.cache_entry AS e (key, expires_at, space, value, plain_key)
    SELECT
      d.key,
      d.expires_at,
      d.space,
      d.value,
      d.plain_key
    FROM due AS d
    ORDER BY d.key
    ON CONFLICT (key) DO UPDATE
    SET expires_at = EXCLUDED.expires_at,
        value = EXCLUDED.value,
        plain_key = EXCLUDED.plain_key
    WHERE e.value IS NOT NULL OR e.expires_at <= clock_timestamp()
    RETURNING e.key
  )
  SELECT d.key
  FROM due AS d
  WHERE NOT EXISTS (SELECT FROM written AS w WHERE w.key = d.key);

  IF sessionsql.first_near_key() <= ANY (cache_set_batch.keys) THEN
    PERFORM sessionsql.log_entries(cache_set_batch.keys);
  END IF;
END
$function$;

COMMENT ON FUNCTION sessionsql.cache_set_batch(
  uuid[], integer[], bytea[], double precision[], bytea[], double precision[], boolean
) IS
  'Sets many entries; returns the keys that a tombstone refused. Commits asynchronously unless durable.';
$file$;
EXECUTE $file$
-- A touch extends an entry as touch_batch extends a session whose idle timeout is the TTL: only if less than
-- the TTL is left, and by a third more, so that a busy entry is rewritten once every third of its TTL. A null
-- TTL makes an entry live for ever.
--
-- Promises: never shortens an expiry, never resurrects an entry, never moves a tombstone, and never waits for
-- a row, so it cannot deadlock under any plan. Commits asynchronously unless durable.
CREATE OR REPLACE FUNCTION sessionsql.cache_touch_batch(
  keys uuid[],
  ttl_seconds double precision[],
  durable boolean DEFAULT false
)
RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1000
SET search_path = pg_catalog, pg_temp
-- This keeps one plan for batches of any length, and leaves only plans that find each row by its key; see
-- update_payload_batch.
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $function$
DECLARE
  -- No expiry is later than this from now, unless it is infinity.
  never CONSTANT double precision := 2 * sessionsql.max_timeout();
  touched bigint;
BEGIN
  -- unnest pads shorter arrays with nulls, and a null TTL is good.
  IF cardinality(cache_touch_batch.keys) IS DISTINCT FROM cardinality(cache_touch_batch.ttl_seconds)
    OR EXISTS (
      SELECT FROM unnest(cache_touch_batch.ttl_seconds) AS t (ttl) WHERE NOT sessionsql.is_ttl(t.ttl)
    )
  THEN
    RAISE invalid_parameter_value USING
      MESSAGE = 'sessionsql.cache_touch_batch: each key needs a ttl of at most 100 years, or null for none';
  END IF;

  PERFORM sessionsql.commit_asynchronously(cache_touch_batch.durable);
  WITH due AS MATERIALIZED (
    SELECT e.key, t.ttl
    FROM unnest(cache_touch_batch.keys, cache_touch_batch.ttl_seconds) AS t (key, ttl)
    JOIN sessionsql.cache_entry AS e ON e.key = sessionsql.at_home(t.key)
    WHERE e.value IS NOT NULL
      AND sessionsql.is_due(e.expires_at, COALESCE(t.ttl, never), 'infinity')
    ORDER BY e.key
    FOR NO KEY UPDATE OF e SKIP LOCKED
  )
  UPDATE sessionsql.cache_entry AS e
  SET expires_at = GREATEST(e.expires_at, sessionsql.next_expiry(d.ttl, 'infinity'))
  FROM due AS d
  WHERE e.key = d.key
    AND e.value IS NOT NULL
    AND sessionsql.is_due(e.expires_at, COALESCE(d.ttl, never), 'infinity');

  GET DIAGNOSTICS touched = ROW_COUNT;
  RETURN touched;
END
$function$;

COMMENT ON FUNCTION sessionsql.cache_touch_batch(uuid[], double precision[], boolean) IS
  'Touches the entries that are due and returns their number. Commits asynchronously unless durable.';
$file$;
EXECUTE $file$
-- A final delete is for keys that must stay dead, as those of sessions: it leaves a tombstone, which no set
-- replaces for an hour, because a request that was under way would otherwise bring a logged-out session back.
-- A key without a row gets no tombstone. Another delete does not end a tombstone.
--
-- Promises: waits for locked rows, because an entry that is being touched must not survive, and takes them in
-- the order of their keys, as cache_set_batch does. A final delete commits synchronously, so that no crash
-- undoes it. Any other commits asynchronously unless durable.
CREATE OR REPLACE FUNCTION sessionsql.cache_delete_batch(
  keys uuid[],
  final boolean DEFAULT false,
  durable boolean DEFAULT false
)
RETURNS SETOF uuid
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1000 ROWS 64
SET search_path = pg_catalog, pg_temp
-- This keeps one plan for batches of any length, which finds each row by its key; see lookup_batch.
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $function$
DECLARE
  locked uuid[];
  ended uuid[];
BEGIN
  IF cache_delete_batch.final THEN
    PERFORM sessionsql.commit_synchronously();
  ELSE
    PERFORM sessionsql.commit_asynchronously(cache_delete_batch.durable);
  END IF;

  SELECT
    array_agg(l.key),
    array_agg(l.key) FILTER (WHERE l.has_value AND l.expires_at > clock_timestamp())
  INTO locked, ended
  FROM (
    SELECT
      e.key,
      e.expires_at,
      e.value IS NOT NULL AS has_value
    FROM sessionsql.cache_entry AS e
    WHERE e.key = ANY (
        CASE
          WHEN EXISTS (
            SELECT FROM unnest(cache_delete_batch.keys) AS k (key) WHERE NOT sessionsql.is_home(k.key)
          ) THEN sessionsql.elsewhere(cache_delete_batch.keys)
          ELSE cache_delete_batch.keys
        END
      )
    ORDER BY e.key
    FOR UPDATE OF e
  ) AS l;

  IF cache_delete_batch.final THEN
    UPDATE sessionsql.cache_entry AS e
    SET expires_at = clock_timestamp() + sessionsql.tombstone_lifetime(),
        value = NULL,
        plain_key = NULL
    WHERE e.key = ANY (locked);
  ELSE
    DELETE FROM sessionsql.cache_entry AS e
    WHERE e.key = ANY (locked)
      AND (e.value IS NOT NULL OR e.expires_at <= clock_timestamp());
  END IF;

  IF sessionsql.first_near_key() <= ANY (cache_delete_batch.keys) THEN
    PERFORM sessionsql.log_entries(cache_delete_batch.keys);
  END IF;
  RETURN QUERY SELECT unnest(ended);
END
$function$;

COMMENT ON FUNCTION sessionsql.cache_delete_batch(uuid[], boolean, boolean) IS
  'Deletes entries and returns the keys that were alive. Commits synchronously if final.';
$file$;
EXECUTE $file$
-- Of many callers that add one key, one gets true. A live entry is read and not locked, so that the others
-- cost no write. Commits asynchronously unless durable.
CREATE OR REPLACE FUNCTION sessionsql.cache_add(
  key uuid,
  space integer,
  value bytea,
  ttl_seconds double precision,
  plain_key bytea DEFAULT NULL,
  durable boolean DEFAULT false
)
RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
SET search_path = pg_catalog, pg_temp
AS $function$
#variable_conflict use_column
BEGIN
  PERFORM sessionsql.check_entry(
    'cache_add', cache_add.key, cache_add.space, cache_add.value, cache_add.ttl_seconds
  );
  IF EXISTS (
    SELECT
    FROM sessionsql.cache_entry AS e
    WHERE e.key = sessionsql.at_home(cache_add.key)
      AND e.expires_at > clock_timestamp()
  ) THEN
    RETURN false;
  END IF;

  PERFORM sessionsql.commit_asynchronously(cache_add.durable);
  INSERT INTO sessionsql.cache_entry AS e (key, expires_at, space, value, plain_key)
  VALUES (
    sessionsql.at_home(cache_add.key),
    sessionsql.cache_expiry(cache_add.ttl_seconds),
    cache_add.space,
    cache_add.value,
    cache_add.plain_key
  )
  ON CONFLICT (key) DO UPDATE
  SET expires_at = EXCLUDED.expires_at,
      value = EXCLUDED.value,
      plain_key = EXCLUDED.plain_key
  WHERE e.expires_at <= clock_timestamp();
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  IF sessionsql.first_near_key() <= cache_add.key THEN
    PERFORM sessionsql.log_entries(ARRAY[cache_add.key]);
  END IF;
  RETURN true;
END
$function$;

COMMENT ON FUNCTION sessionsql.cache_add(uuid, integer, bytea, double precision, bytea, boolean) IS
  'Sets an entry unless one is alive or a tombstone stands, and returns whether it did.';
$file$;
EXECUTE $file$
-- One result tells three outcomes apart, as in update_payload: 1 if the entry had the old value and was
-- written; 0 (a conflict) if it has another value; -1 if there is no such live entry. A null value deletes
-- the entry, as cache_delete_batch does.
--
-- Promises: never resurrects an entry. The row is locked before it is judged. Commits asynchronously unless
-- durable, and synchronously for a final delete.
CREATE OR REPLACE FUNCTION sessionsql.cache_swap(
  key uuid,
  old_hash bytea,
  value bytea,
  ttl_seconds double precision DEFAULT NULL,
  final boolean DEFAULT false,
  durable boolean DEFAULT false
)
RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  locked record;
BEGIN
  IF (octet_length(cache_swap.old_hash) = 32 AND sessionsql.is_ttl(cache_swap.ttl_seconds)) IS NOT TRUE THEN
    RAISE invalid_parameter_value USING
      MESSAGE = 'sessionsql.cache_swap: old_hash must be a SHA-256 hash, and ttl at most 100 years';
  END IF;

  PERFORM sessionsql.commit_asynchronously(cache_swap.durable);
  SELECT
    e.value,
    e.expires_at
  INTO locked
  FROM sessionsql.cache_entry AS e
  WHERE e.key = sessionsql.at_home(cache_swap.key)
  FOR UPDATE OF e;
  IF NOT FOUND OR locked.value IS NULL OR locked.expires_at <= clock_timestamp() THEN
    RETURN -1;
  ELSIF sha256(locked.value) <> cache_swap.old_hash THEN
    RETURN 0;
  END IF;

  IF cache_swap.value IS NULL THEN
    PERFORM sessionsql.cache_delete_batch(ARRAY[cache_swap.key], cache_swap.final, cache_swap.durable);
  ELSE
    UPDATE sessionsql.cache_entry AS e
    SET expires_at = sessionsql.cache_expiry(cache_swap.ttl_seconds),
        value = cache_swap.value
    WHERE e.key = cache_swap.key;
    IF sessionsql.first_near_key() <= cache_swap.key THEN
      PERFORM sessionsql.log_entries(ARRAY[cache_swap.key]);
    END IF;
  END IF;
  RETURN 1;
END
$function$;

COMMENT ON FUNCTION sessionsql.cache_swap(uuid, bytea, bytea, double precision, boolean, boolean) IS
  'Writes an entry that has the old value; returns 1, 0 (conflict) or -1 (gone).';
$file$;
EXECUTE $file$
-- cache_increment_by_key adds here. A cast of the value would print it in its error.
CREATE OR REPLACE FUNCTION sessionsql.cache_sum(value bytea, delta bigint)
RETURNS bytea
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 10
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  digits CONSTANT text := encode(substr(cache_sum.value, 1, 21), 'escape');
  total numeric;
BEGIN
  IF digits COLLATE "C" !~ '^(-|)[0-9]{1,19}$' THEN
    RAISE invalid_text_representation USING
      MESSAGE = 'sessionsql.cache_increment_by_key: the entry holds no decimal number';
  END IF;
  total := digits::numeric + cache_sum.delta;
  IF total NOT BETWEEN -9223372036854775808 AND 9223372036854775807 THEN
    RAISE numeric_value_out_of_range USING
      MESSAGE = 'sessionsql.cache_increment_by_key: the sum does not fit into 64 bits';
  END IF;
  RETURN decode(total::text, 'escape');
END
$function$;

COMMENT ON FUNCTION sessionsql.cache_sum(bytea, bigint) IS
  'Returns a decimal number plus delta, both as the bytes of text.';
$file$;
EXECUTE $file$
-- The value is a decimal number as text. The TTL counts from the entry's birth: later calls do not extend it.
-- Null means that a tombstone stands.
--
-- Promises: no increment is lost or counted twice. Commits asynchronously unless durable.
CREATE OR REPLACE FUNCTION sessionsql.cache_increment_by_key(
  key uuid,
  space integer,
  delta bigint,
  ttl_seconds double precision,
  plain_key bytea DEFAULT NULL,
  durable boolean DEFAULT false
)
RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
SET search_path = pg_catalog, pg_temp
AS $function$
#variable_conflict use_column
DECLARE
  born CONSTANT bytea := decode(cache_increment_by_key.delta::text, 'escape');
  total bigint;
BEGIN
  PERFORM sessionsql.check_entry(
    'cache_increment_by_key',
    cache_increment_by_key.key,
    cache_increment_by_key.space,
    born,
    cache_increment_by_key.ttl_seconds
  );

  PERFORM sessionsql.commit_asynchronously(cache_increment_by_key.durable);
  INSERT INTO sessionsql.cache_entry AS e (key, expires_at, space, value, plain_key)
  VALUES (
    sessionsql.at_home(cache_increment_by_key.key),
    sessionsql.cache_expiry(cache_increment_by_key.ttl_seconds),
    cache_increment_by_key.space,
    born,
    cache_increment_by_key.plain_key
  )
  ON CONFLICT (key) DO UPDATE
  SET (expires_at, value) = (
        SELECT
          CASE WHEN a.alive THEN e.expires_at ELSE EXCLUDED.expires_at END,
          CASE
            WHEN a.alive THEN sessionsql.cache_sum(e.value, cache_increment_by_key.delta)
            ELSE EXCLUDED.value
          END
        -- OFFSET 0 makes both columns see one time.
        FROM (SELECT e.expires_at > clock_timestamp() AS alive OFFSET 0) AS a
      ),
      plain_key = EXCLUDED.plain_key
  WHERE e.value IS NOT NULL OR e.expires_at <= clock_timestamp()
  RETURNING encode(e.value, 'escape')::bigint INTO total;
  IF sessionsql.first_near_key() <= cache_increment_by_key.key THEN
    PERFORM sessionsql.log_entries(ARRAY[cache_increment_by_key.key]);
  END IF;
  RETURN total;
END
$function$;

COMMENT ON FUNCTION
  sessionsql.cache_increment_by_key(uuid, integer, bigint, double precision, bytea, boolean) IS
  'Adds to an entry''s number, or sets it, and returns the sum; null if a tombstone stands.';
$file$;
EXECUTE $file$
-- This is cache_increment_by_key for clients that have only SQL.
CREATE OR REPLACE FUNCTION sessionsql.cache_increment(
  space text,
  key text,
  delta bigint DEFAULT 1,
  ttl interval DEFAULT NULL,
  durable boolean DEFAULT false
)
RETURNS bigint
LANGUAGE sql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
BEGIN ATOMIC
  SELECT sessionsql.cache_increment_by_key(
    sessionsql.cache_key(cache_increment.space, cache_increment.key),
    sessionsql.cache_space_id(cache_increment.space),
    cache_increment.delta,
    date_part('epoch', cache_increment.ttl),
    NULL::bytea,
    cache_increment.durable
  );
END;

COMMENT ON FUNCTION sessionsql.cache_increment(text, text, bigint, interval, boolean) IS
  'Adds to the number of a space and key, or sets it, and returns the sum; null if a tombstone stands.';
$file$;
EXECUTE $file$
-- This is for a caller that found no entry, or a stale one, and would load its value. Of many such callers
-- one gets the lease, and the others the entry as it is. An entry with more than stale_seconds left is fresh,
-- and then nobody gets a lease.
--
-- The lease is an entry under lease_key with the value owner. Release it with cache_swap, which takes the
-- hash of owner, so that nobody releases the lease of another. It ends by itself after lease_seconds.
--
-- The body only calls other functions, because entry and lease may be on two shards.
CREATE OR REPLACE FUNCTION sessionsql.cache_fetch_lease_by_key(
  key uuid,
  lease_key uuid,
  space integer,
  owner bytea,
  lease_seconds double precision,
  stale_seconds double precision DEFAULT 0
)
RETURNS SETOF sessionsql.cache_lease
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100 ROWS 1
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  result sessionsql.cache_lease;
BEGIN
  IF (
    cache_fetch_lease_by_key.lease_seconds > 0 AND cache_fetch_lease_by_key.stale_seconds >= 0
  ) IS NOT TRUE THEN
    RAISE invalid_parameter_value USING
      MESSAGE = 'sessionsql.cache_fetch_lease_by_key: the lease must be positive, stale_seconds at least 0';
  END IF;

  result.leased := false;
  LOOP
    SELECT
      g.value,
      g.expires_in
    INTO result.value, result.expires_in
    FROM sessionsql.cache_get_batch(ARRAY[cache_fetch_lease_by_key.key]) AS g;
    EXIT WHEN result.leased OR result.expires_in > cache_fetch_lease_by_key.stale_seconds;

    -- An empty plain key marks the lease, because no entry has one.
    result.leased := sessionsql.cache_add(
      cache_fetch_lease_by_key.lease_key,
      cache_fetch_lease_by_key.space,
      cache_fetch_lease_by_key.owner,
      cache_fetch_lease_by_key.lease_seconds,
      ''
    );
    EXIT WHEN NOT result.leased;
  END LOOP;

  -- The last holder may have set the entry and released the lease between the read and the lease.
  IF result.leased AND result.expires_in > cache_fetch_lease_by_key.stale_seconds THEN
    PERFORM sessionsql.cache_swap(
      cache_fetch_lease_by_key.lease_key, sha256(cache_fetch_lease_by_key.owner), NULL::bytea
    );
    result.leased := false;
  END IF;
  RETURN NEXT result;
END
$function$;

COMMENT ON FUNCTION
  sessionsql.cache_fetch_lease_by_key(uuid, uuid, integer, bytea, double precision, double precision) IS
  'Returns an entry, and whether the caller got the lease to load its value.';
$file$;
EXECUTE $file$
-- This is cache_fetch_lease_by_key for clients that have only SQL. Release the lease with cache_end_lease.
CREATE OR REPLACE FUNCTION sessionsql.cache_fetch_lease(
  space text,
  key text,
  owner bytea,
  lease interval DEFAULT '30 seconds',
  stale interval DEFAULT '0'
)
RETURNS SETOF sessionsql.cache_lease
LANGUAGE sql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100 ROWS 1
BEGIN ATOMIC
  SELECT
    l.value,
    l.expires_in,
    l.leased
  FROM (
    SELECT sessionsql.cache_key(cache_fetch_lease.space, cache_fetch_lease.key) AS key
  ) AS k
  CROSS JOIN LATERAL sessionsql.cache_fetch_lease_by_key(
    k.key,
    sessionsql.cache_lease_key(k.key),
    sessionsql.cache_space_id(cache_fetch_lease.space),
    cache_fetch_lease.owner,
    date_part('epoch', cache_fetch_lease.lease),
    date_part('epoch', cache_fetch_lease.stale)
  ) AS l;
END;

COMMENT ON FUNCTION sessionsql.cache_fetch_lease(text, text, bytea, interval, interval) IS
  'Returns the entry of a space and key, and whether the caller got the lease to load its value.';
$file$;
EXECUTE $file$
-- This is for clients that have only SQL: the end of the lease of cache_fetch_lease, if it is still the
-- owner's.
CREATE OR REPLACE FUNCTION sessionsql.cache_end_lease(space text, key text, owner bytea)
RETURNS boolean
LANGUAGE sql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
BEGIN ATOMIC
  SELECT sessionsql.cache_swap(
    sessionsql.cache_lease_key(sessionsql.cache_key(cache_end_lease.space, cache_end_lease.key)),
    sha256(cache_end_lease.owner),
    NULL::bytea
  ) = 1;
END;

COMMENT ON FUNCTION sessionsql.cache_end_lease(text, text, bytea) IS
  'Releases the lease of a space and key, and returns whether it was still the owner''s.';
$file$;
EXECUTE $file$
-- This pages through a space: pass the last key of a page as after, and null for the first page. Entries
-- whose plain key is not kept do not appear.
--
-- The settings leave only a walk along the index, because a page would otherwise cost a scan and a sort of
-- the whole table. It runs on a replica.
CREATE OR REPLACE FUNCTION sessionsql.cache_list(space integer, after uuid, max_rows integer)
RETURNS SETOF sessionsql.cache_listed
LANGUAGE plpgsql STABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1000 ROWS 100
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_sort = off
AS $function$
BEGIN
  IF (cache_list.max_rows > 0) IS NOT TRUE THEN
    RAISE invalid_parameter_value USING MESSAGE = 'sessionsql.cache_list: max_rows must be positive';
  END IF;
  RETURN QUERY
  SELECT
    l.key,
    l.plain_key,
    l.value,
    l.expires_in,
    l.space
  FROM sessionsql.cache_listed AS l
  WHERE l.space = cache_list.space
    AND sessionsql.is_home(l.key)
    AND l.key > COALESCE(cache_list.after, '00000000-0000-0000-0000-000000000000')
  ORDER BY l.key
  LIMIT cache_list.max_rows;
END
$function$;

COMMENT ON FUNCTION sessionsql.cache_list(integer, uuid, integer) IS
  'Lists live entries of a space whose keys are kept, in the order of their keys, beginning behind a key.';
$file$;
EXECUTE $file$
-- This reads the whole table, because no index has the space. A lease is no entry. It runs on a replica.
CREATE OR REPLACE FUNCTION sessionsql.cache_len(space integer)
RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 10000
BEGIN ATOMIC
  SELECT count(*)
  FROM sessionsql.cache_entry AS e
  WHERE e.space = cache_len.space
    AND sessionsql.is_home(e.key)
    AND e.expires_at > statement_timestamp()
    AND e.value IS NOT NULL
    AND (octet_length(e.plain_key) = 0) IS NOT TRUE;
END;

COMMENT ON FUNCTION sessionsql.cache_len(integer) IS 'Returns the number of live entries of a space.';
$file$;
EXECUTE $file$
-- This ends the entries that a space has at the time of the call, and those alone: a set that commits later
-- stays. It reads the whole table, and is one transaction however many entries there are.
--
-- The promises are those of cache_delete_batch.
CREATE OR REPLACE FUNCTION sessionsql.cache_clear(
  space integer,
  final boolean DEFAULT false,
  durable boolean DEFAULT false
)
RETURNS bigint
LANGUAGE sql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 10000
BEGIN ATOMIC
  SELECT count(*)
  FROM sessionsql.cache_delete_batch(
    ARRAY(
      SELECT e.key
      FROM sessionsql.cache_entry AS e
      WHERE e.space = cache_clear.space
        AND sessionsql.is_home(e.key)
    ),
    cache_clear.final,
    cache_clear.durable
  );
END;

COMMENT ON FUNCTION sessionsql.cache_clear(integer, boolean, boolean) IS
  'Deletes every entry of a space and returns how many were alive. Commits synchronously if final.';
$file$;
EXECUTE $file$
-- This is cache_get_batch for clients that have only SQL. Null means that there is no live entry.
CREATE OR REPLACE FUNCTION sessionsql.cache_get(space text, key text)
RETURNS bytea
LANGUAGE sql STABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
BEGIN ATOMIC
  SELECT g.value
  FROM sessionsql.cache_get_batch(ARRAY[sessionsql.cache_key(cache_get.space, cache_get.key)]) AS g;
END;

COMMENT ON FUNCTION sessionsql.cache_get(text, text) IS 'Returns the value of a space and key, or null.';
$file$;
EXECUTE $file$
-- This is cache_set_batch for clients that have only SQL. A null TTL means that the entry never expires.
-- False means that a tombstone stands. keep_key keeps the key as it is, which cache_list needs.
CREATE OR REPLACE FUNCTION sessionsql.cache_set(
  space text,
  key text,
  value bytea,
  ttl interval DEFAULT NULL,
  slack interval DEFAULT NULL,
  keep_key boolean DEFAULT false,
  durable boolean DEFAULT false
)
RETURNS boolean
LANGUAGE sql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
BEGIN ATOMIC
  SELECT count(*) = 0
  FROM sessionsql.cache_set_batch(
    ARRAY[sessionsql.cache_key(cache_set.space, cache_set.key)],
    ARRAY[sessionsql.cache_space_id(cache_set.space)],
    ARRAY[cache_set.value],
    ARRAY[date_part('epoch', cache_set.ttl)],
    CASE WHEN cache_set.keep_key THEN ARRAY[convert_to(cache_set.key, 'UTF8')] END,
    ARRAY[date_part('epoch', cache_set.slack)],
    cache_set.durable
  );
END;

COMMENT ON FUNCTION sessionsql.cache_set(text, text, bytea, interval, interval, boolean, boolean) IS
  'Sets the value of a space and key; false if a tombstone stands. Commits asynchronously unless durable.';
$file$;
EXECUTE $file$
-- This is cache_touch_batch for clients that have only SQL. True means that the expiry moved, which it does
-- at most once every third of the TTL.
CREATE OR REPLACE FUNCTION sessionsql.cache_touch(
  space text,
  key text,
  ttl interval DEFAULT NULL,
  durable boolean DEFAULT false
)
RETURNS boolean
LANGUAGE sql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
BEGIN ATOMIC
  SELECT sessionsql.cache_touch_batch(
    ARRAY[sessionsql.cache_key(cache_touch.space, cache_touch.key)],
    ARRAY[date_part('epoch', cache_touch.ttl)],
    cache_touch.durable
  ) = 1;
END;

COMMENT ON FUNCTION sessionsql.cache_touch(text, text, interval, boolean) IS
  'Touches the entry of a space and key; returns whether it was due. Commits asynchronously unless durable.';
$file$;
EXECUTE $file$
-- This is cache_delete_batch for clients that have only SQL.
CREATE OR REPLACE FUNCTION sessionsql.cache_delete(
  space text,
  key text,
  final boolean DEFAULT false,
  durable boolean DEFAULT false
)
RETURNS boolean
LANGUAGE sql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
BEGIN ATOMIC
  SELECT count(*) = 1
  FROM sessionsql.cache_delete_batch(
    ARRAY[sessionsql.cache_key(cache_delete.space, cache_delete.key)],
    cache_delete.final,
    cache_delete.durable
  );
END;

COMMENT ON FUNCTION sessionsql.cache_delete(text, text, boolean, boolean) IS
  'Deletes the entry of a space and key, and returns whether it was alive. Commits synchronously if final.';
$file$;
EXECUTE $file$
-- cache_reap takes this step for spaces over their budget, before it deletes what is expired. It holds the
-- hand's lock.
--
-- The bytes of a space are what the last lap left or, once it is more, what the hand has met in this lap, the
-- evicted and those of the range included. So each range loses the same share, and a lap takes what is over
-- the budget. In the range these are the entries that were written longest ago, be it by a set or a touch. So
-- this samples, as Redis does: an older entry may stand elsewhere.
--
-- Promises: never evicts a tombstone or an entry that was written in the meantime, and never waits for a row.
-- If more than max_rows would go, the range ends earlier. The result is the first page behind it.
CREATE OR REPLACE FUNCTION sessionsql.evict(
  first_page bigint,
  end_page bigint,
  max_rows integer,
  OUT evicted bigint,
  OUT next_page bigint
)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 10000
SET search_path = pg_catalog, pg_temp
-- These rule out a scan of the whole table, as in sweep.
SET enable_tidscan = on
SET enable_seqscan = off
SET enable_indexscan = on
SET enable_nestloop = on
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $function$
DECLARE
  over integer[];
  near uuid[];
  shares double precision[];
  expected double precision;
BEGIN
  evicted := 0;
  next_page := evict.end_page;

  SELECT
    array_agg(o.space),
    array_agg(o.share),
    sum(o.share * o.entries)
  INTO over, shares, expected
  FROM (
    SELECT
      b.space,
      r.entries,
      1 - b.max_bytes / GREATEST(
        b.last_lap_bytes,
        b.lap_bytes + b.lap_evicted_bytes + r.bytes
      ) AS share
    FROM sessionsql.cache_space AS b
    JOIN (
      SELECT
        e.space,
        count(*) AS entries,
        sum(sessionsql.entry_bytes(e.value, e.plain_key))::double precision AS bytes
      FROM sessionsql.cache_entry AS e
      WHERE e.ctid >= ('(' || evict.first_page || ',0)')::tid
        AND e.ctid < ('(' || evict.end_page || ',0)')::tid
        AND e.value IS NOT NULL
        AND e.expires_at > statement_timestamp()
      GROUP BY e.space
    ) AS r ON r.space = b.space
  ) AS o
  WHERE o.share > 0;
  IF over IS NULL THEN
    RETURN;
  END IF;

  IF expected > evict.max_rows THEN
    next_page := evict.first_page
      + GREATEST(floor((evict.end_page - evict.first_page) * evict.max_rows / expected)::bigint, 1);
  END IF;

  WITH aged AS MATERIALIZED (
    SELECT
      e.key,
      e.xmin AS written_by,
      s.share,
      sessionsql.entry_bytes(e.value, e.plain_key) AS bytes,
      e.space
    FROM sessionsql.cache_entry AS e
    JOIN unnest(over, shares) AS s (space, share) ON s.space = e.space
    WHERE e.ctid >= ('(' || evict.first_page || ',0)')::tid
      AND e.ctid < ('(' || next_page || ',0)')::tid
      AND e.value IS NOT NULL
      AND e.expires_at > statement_timestamp()
  ), oldest AS MATERIALIZED (
    SELECT r.key, r.written_by
    FROM (
      SELECT
        a.key,
        a.written_by,
        a.share * sum(a.bytes) OVER (PARTITION BY a.space) AS quota,
        sum(a.bytes) OVER (PARTITION BY a.space ORDER BY age(a.written_by) DESC, a.key) - a.bytes / 2
          AS reached
      FROM aged AS a
    ) AS r
    WHERE r.reached <= r.quota
    LIMIT evict.max_rows
  ), locked AS MATERIALIZED (
    SELECT e.key
    FROM oldest AS o
    JOIN sessionsql.cache_entry AS e ON e.key = o.key AND e.xmin = o.written_by
    FOR UPDATE OF e SKIP LOCKED
  ), deleted AS (
    DELETE FROM sessionsql.cache_entry AS e
    USING locked AS l
    WHERE e.key = l.key
      AND e.value IS NOT NULL
    RETURNING e.key, e.space, sessionsql.entry_bytes(e.value, e.plain_key) AS bytes
  ), counted AS (
    UPDATE sessionsql.cache_space AS b
    SET lap_evicted_bytes = b.lap_evicted_bytes + d.bytes
    FROM (SELECT d.space, sum(d.bytes) AS bytes FROM deleted AS d GROUP BY d.space) AS d
    WHERE d.space = b.space
  )
  SELECT
    count(*),
    array_agg(d.key) FILTER (WHERE d.key >= sessionsql.first_near_key())
  INTO evicted, near
  FROM deleted AS d;
  IF near IS NOT NULL THEN -- or a later cache_clear would not find their keys
    PERFORM sessionsql.log_entries(near);
  END IF;
END
$function$;

COMMENT ON FUNCTION sessionsql.evict(bigint, bigint, integer) IS
  'Evicts old entries of spaces over budget from a range of pages; returns counts and the range''s end.';
$file$;
EXECUTE $file$
-- This is reap for cache entries. Its clock hand also keeps spaces within a budget of bytes: budgets[i] is
-- that of spaces[i]. The hand sums the bytes of these spaces as it goes round, and takes live entries of a
-- space that is over its budget; see evict. Calls without the arrays keep to the budgets as well, so that it
-- does not matter which program moves the hand. A budget lapses a day after the last call that named it. A
-- space may stand above its budget by what is set while the hand goes round.
--
-- Promises: those of reap. It evicts at most max_rows live rows too, and never a tombstone. Do not give a
-- budget to a space that holds sessions, because it would end live ones.
CREATE OR REPLACE FUNCTION sessionsql.cache_reap(
  max_rows integer DEFAULT 1000,
  max_pages integer DEFAULT 4096,
  durable boolean DEFAULT false,
  spaces integer[] DEFAULT NULL,
  budgets bigint[] DEFAULT NULL
)
RETURNS SETOF sessionsql.last_cache_reap
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 10000 ROWS 1
SET search_path = pg_catalog, pg_temp
-- These rule out a scan of the whole table, as in sweep.
SET enable_tidscan = on
SET enable_seqscan = off
AS $function$
DECLARE
  first_page bigint;
  end_page bigint;
  table_pages bigint;
  budgeted boolean;
  swept sessionsql.last_reap;
  result sessionsql.last_cache_reap;
BEGIN
  IF (cache_reap.max_rows > 0 AND cache_reap.max_pages > 0) IS NOT TRUE THEN
    RAISE invalid_parameter_value USING
      MESSAGE = 'sessionsql.cache_reap: max_rows and max_pages must be positive';
  END IF;
  IF cardinality(cache_reap.spaces) IS DISTINCT FROM cardinality(cache_reap.budgets)
    OR array_position(cache_reap.spaces, NULL) IS NOT NULL
    OR (0 < ALL (cache_reap.budgets)) IS FALSE
    OR array_position(cache_reap.budgets, NULL) IS NOT NULL
  THEN
    RAISE invalid_parameter_value USING
      MESSAGE = 'sessionsql.cache_reap: each space needs a budget, which must be positive';
  END IF;

  -- This is first, because the hand's lock counts as a write.
  PERFORM sessionsql.commit_asynchronously(cache_reap.durable);

  -- Nothing is written beside another reaper.
  PERFORM FROM sessionsql.cache_reaper AS r
  WHERE r.singleton
  FOR NO KEY UPDATE OF r SKIP LOCKED;
  IF NOT FOUND THEN
    RETURN;
  END IF;

  INSERT INTO sessionsql.cache_space AS b (space, max_bytes, asked_at)
  SELECT DISTINCT ON (g.space) g.space, g.budget, statement_timestamp()
  FROM unnest(cache_reap.spaces, cache_reap.budgets) AS g (space, budget)
  ORDER BY g.space, g.budget
  ON CONFLICT (space) DO UPDATE
  SET max_bytes = EXCLUDED.max_bytes,
      asked_at = EXCLUDED.asked_at;

  budgeted := EXISTS (SELECT FROM sessionsql.cache_space);

  result.reaped := 0;
  result.evicted := 0;
  result.pages := 0;
  LOOP
    table_pages :=
      pg_relation_size('sessionsql.cache_entry'::regclass) / current_setting('block_size')::bigint;
    SELECT CASE WHEN r.next_page < table_pages THEN r.next_page ELSE 0 END INTO first_page
    FROM sessionsql.cache_reaper AS r
    WHERE r.singleton;
    end_page := LEAST(first_page + cache_reap.max_pages - result.pages, table_pages);

    -- evict reads all of its range, whatever it then takes of it, so the range is short.
    IF budgeted AND end_page > first_page THEN
      SELECT result.evicted + v.evicted, v.next_page INTO result.evicted, end_page
      FROM sessionsql.evict(
        first_page, LEAST(end_page, first_page + 512), (cache_reap.max_rows - result.evicted)::integer
      ) AS v;
    END IF;

    swept := sessionsql.sweep(
      'sessionsql.cache_entry', 'key', 'sessionsql.cache_reaper',
      (cache_reap.max_rows - result.reaped)::integer, GREATEST(end_page - first_page, 1)::integer
    );
    result.reaped := result.reaped + swept.reaped;
    result.pages := result.pages + swept.pages;
    result.lap_done := swept.lap_done;

    IF budgeted THEN
      -- The entries of the pages that are behind the hand now count for the lap.
      SELECT CASE WHEN r.lap_done THEN first_page + swept.pages ELSE r.next_page END INTO end_page
      FROM sessionsql.cache_reaper AS r
      WHERE r.singleton;
      UPDATE sessionsql.cache_space AS b
      SET lap_bytes = b.lap_bytes + r.bytes
      FROM (
        SELECT
          e.space,
          sum(sessionsql.entry_bytes(e.value, e.plain_key))::double precision AS bytes
        FROM sessionsql.cache_entry AS e
        WHERE e.ctid >= ('(' || first_page || ',0)')::tid
          AND e.ctid < ('(' || end_page || ',0)')::tid
          AND e.value IS NOT NULL
          AND e.expires_at > statement_timestamp()
        GROUP BY e.space
      ) AS r
      WHERE r.space = b.space;
    END IF;

    EXIT WHEN NOT budgeted
      OR result.lap_done
      OR result.pages >= cache_reap.max_pages
      OR result.reaped >= cache_reap.max_rows
      OR result.evicted >= cache_reap.max_rows;
  END LOOP;

  IF result.lap_done THEN
    DELETE FROM sessionsql.cache_space AS b
    WHERE b.asked_at < statement_timestamp() - '1 day'::interval;
    UPDATE sessionsql.cache_space AS b
    SET last_lap_bytes = b.lap_bytes,
        lap_bytes = 0,
        lap_evicted_bytes = 0;
  END IF;
  UPDATE sessionsql.cache_reaper AS r
  SET reaped = result.reaped,
      evicted = result.evicted,
      pages = result.pages
  WHERE r.singleton;

  RETURN NEXT result;
END
$function$;

COMMENT ON FUNCTION sessionsql.cache_reap(integer, integer, boolean, integer[], bigint[]) IS
  'Deletes expired entries, and old ones of spaces over budget, from the next pages; returns counts.';
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
$file$;
END IF;
IF state.router THEN
EXECUTE $file$
-- This file is optional. It makes a database without sessions a router: whoever calls the bundle's functions
-- there reaches all shards, each a primary with the bundle; see functions/shard.sql. It needs a superuser and
-- the extension PL/Proxy (Debian: postgresql-15-plproxy), because the language plproxy is not trusted:
--
--     psql -1 -v ON_ERROR_STOP=1 -f sql/install.sql -f sql/roles.sql -f sql/router.sql
--
-- The shards are options of a foreign server, in the order of their numbers. A router keeps nothing, so there
-- may be any number of them, and each needs only this:
--
--     CREATE SERVER sessionsql FOREIGN DATA WRAPPER plproxy OPTIONS (
--       p0 'host=shard0 dbname=app target_session_attrs=read-write',
--       p1 'host=shard1 dbname=app target_session_attrs=read-write'
--     );
--     GRANT USAGE ON FOREIGN SERVER sessionsql TO sessionsql_owner;
--     CREATE USER MAPPING FOR sessionsql_owner SERVER sessionsql OPTIONS (user 'router', password '...');
--
-- The user of the mapping needs sessionsql_app and sessionsql_support on each shard. Install roles.sql there
-- too, because PL/Proxy prepares nothing, and the functions keep their plans only then.
--
-- You can run this file again at any time. From then on install.sql ends with it, because an upgrade would
-- otherwise let the router answer out of its own empty tables.
--
-- Each shard commits by itself. So a call that reaches several of them may be done on some when it fails, and
-- nothing that the caller's transaction does later undoes it. A cap of sessions (max_sessions) is refused,
-- because no shard sees all sessions of a subject.
DO $router$
BEGIN
  IF EXISTS (SELECT FROM sessionsql.session) OR EXISTS (SELECT FROM sessionsql.cache_entry) THEN
    RAISE object_not_in_prerequisite_state USING
      MESSAGE = 'sessionsql: this database holds sessions or cache entries, so it cannot become a router',
      HINT = 'A router is a database of its own.';
  END IF;
END
$router$;

CREATE EXTENSION IF NOT EXISTS plproxy;

-- The functions here return one row per shard; those of the same names in sessionsql make one answer of them.
-- The schema tells an installation, and a Store, that this is a router.
CREATE SCHEMA IF NOT EXISTS sessionsql_router;
REVOKE ALL ON SCHEMA sessionsql_router FROM PUBLIC;

-- The local tables stay empty: whatever reaches them by an id or a key is refused.
DO $router$
BEGIN
  PERFORM sessionsql.shard(1, NULL);
END
$router$;

-- All functions run as their owner, who alone has the user mapping and with it the password of the shards.

CREATE OR REPLACE FUNCTION sessionsql.shards()
RETURNS integer
LANGUAGE plpgsql STABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY DEFINER COST 100
SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
  RETURN (
    SELECT count(*)
    FROM pg_foreign_server AS s
    CROSS JOIN unnest(s.srvoptions) AS o (option)
    WHERE s.srvname = 'sessionsql'
      AND o.option ~ '^p[0-9]+='
  );
END
$function$;

CREATE OR REPLACE FUNCTION sessionsql_router.shards()
RETURNS SETOF integer
LANGUAGE plproxy VOLATILE SECURITY DEFINER
AS $function$
  CLUSTER 'sessionsql';
  RUN ON ALL;
  TARGET sessionsql.shards;
$function$;

-- A call that must reach every shard takes the number of shards before, and passes it here afterwards. A
-- shard that has been divided since the router got its map says so, and then the call has left a shard out.
CREATE OR REPLACE FUNCTION sessionsql_router.check_shards(shards integer)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY DEFINER COST 1000
SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
  IF (
    SELECT count(*) = check_shards.shards AND bool_and(s.shards IS NOT DISTINCT FROM check_shards.shards)
    FROM sessionsql_router.shards() AS s (shards)
  ) IS NOT TRUE THEN
    RAISE EXCEPTION USING
      ERRCODE = 'SQ001',
      MESSAGE = 'sessionsql: the shards are not those of this router''s map, so the call has left some out',
      HINT = 'Call again. If this goes on, compare the options of the foreign server with the shards.';
  END IF;
END
$function$;

CREATE OR REPLACE FUNCTION sessionsql_router.insert(
  secret_hash bytea,
  payload text,
  idle_timeout interval,
  lifetime interval,
  subject text,
  durable boolean,
  max_sessions integer,
  label text
)
RETURNS bigint
LANGUAGE plproxy VOLATILE SECURITY DEFINER
AS $function$
  CLUSTER 'sessionsql';
  RUN ON ANY;
  TARGET sessionsql.insert;
$function$;

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
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY DEFINER COST 1000
SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
  IF insert.max_sessions IS NOT NULL THEN
    RAISE feature_not_supported USING
      MESSAGE = 'sessionsql.insert: a router cannot enforce max_sessions';
  END IF;
  RETURN sessionsql_router.insert(
    insert.secret_hash, insert.payload, insert.idle_timeout, insert.lifetime, insert.subject, insert.durable,
    NULL, insert.label
  );
END
$function$;

-- A batch goes to one shard as a whole, so that it is inserted as a whole or not at all.
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
LANGUAGE plproxy VOLATILE SECURITY DEFINER
AS $function$
  CLUSTER 'sessionsql';
  RUN ON ANY;
$function$;

CREATE OR REPLACE FUNCTION sessionsql.lookup(id bigint, secret_hash bytea)
RETURNS SETOF sessionsql.live_session
LANGUAGE plproxy VOLATILE SECURITY DEFINER
AS $function$
  CLUSTER 'sessionsql';
  RUN ON sessionsql.shard_of(id);
$function$;

CREATE OR REPLACE FUNCTION sessionsql.open_session(id bigint, secret_hash bytea)
RETURNS SETOF sessionsql.live_session
LANGUAGE plproxy VOLATILE SECURITY DEFINER
AS $function$
  CLUSTER 'sessionsql';
  RUN ON sessionsql.shard_of(id);
  TARGET sessionsql.lookup;
$function$;

-- This is the call that a busy program makes most. PL/Proxy takes the shard from the ids themselves, because
-- it would run a query for each call of shard_of. It refuses a null id, which opens no session anyway.
CREATE OR REPLACE FUNCTION sessionsql.lookup_batch(ids bigint[], secret_hashes bytea[])
RETURNS SETOF sessionsql.live_session
LANGUAGE plproxy VOLATILE SECURITY DEFINER
AS $function$
  CLUSTER 'sessionsql';
  SPLIT ids, secret_hashes;
  RUN ON ids;
$function$;

CREATE OR REPLACE FUNCTION sessionsql.lookup_near(ids bigint[], secret_hashes bytea[])
RETURNS SETOF sessionsql.near_session
LANGUAGE plproxy VOLATILE SECURITY DEFINER
AS $function$
  CLUSTER 'sessionsql';
  SPLIT ids, secret_hashes;
  RUN ON sessionsql.shard_of(ids);
$function$;

-- No snapshot spans the shards, so a program behind a router keeps nothing in memory.
CREATE OR REPLACE FUNCTION sessionsql.changes(last pg_snapshot)
RETURNS SETOF sessionsql.change_feed
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY DEFINER COST 1000 ROWS 1
SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
  RAISE feature_not_supported USING
    MESSAGE = 'sessionsql.changes: a router has no log of changes, so there is no near cache behind it';
END
$function$;

CREATE OR REPLACE FUNCTION sessionsql_router.touch_batch(ids bigint[], durable boolean)
RETURNS SETOF bigint
LANGUAGE plproxy VOLATILE SECURITY DEFINER
AS $function$
  CLUSTER 'sessionsql';
  SPLIT ids;
  RUN ON sessionsql.shard_of(ids);
  TARGET sessionsql.touch_batch;
$function$;

CREATE OR REPLACE FUNCTION sessionsql.touch_batch(ids bigint[], durable boolean DEFAULT false)
RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY DEFINER COST 1000
SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
  RETURN (
    SELECT COALESCE(sum(t.touched), 0)
    FROM sessionsql_router.touch_batch(touch_batch.ids, touch_batch.durable) AS t (touched)
  );
END
$function$;

CREATE OR REPLACE FUNCTION sessionsql.update_payload(
  id bigint,
  secret_hash bytea,
  payload text,
  expected_version integer DEFAULT NULL,
  durable boolean DEFAULT false
)
RETURNS integer
LANGUAGE plproxy VOLATILE SECURITY DEFINER
AS $function$
  CLUSTER 'sessionsql';
  RUN ON sessionsql.shard_of(id);
$function$;

CREATE OR REPLACE FUNCTION sessionsql.update_payload_batch(
  ids bigint[],
  secret_hashes bytea[],
  payloads text[],
  expected_versions integer[],
  durable boolean DEFAULT false
)
RETURNS SETOF sessionsql.payload_version
LANGUAGE plproxy VOLATILE SECURITY DEFINER
AS $function$
  CLUSTER 'sessionsql';
  SPLIT ids, secret_hashes, payloads, expected_versions;
  RUN ON sessionsql.shard_of(ids);
$function$;

CREATE OR REPLACE FUNCTION sessionsql_router.rotate(
  id bigint,
  secret_hash bytea,
  new_secret_hash bytea,
  grace interval,
  subject text,
  max_sessions integer
)
RETURNS boolean
LANGUAGE plproxy VOLATILE SECURITY DEFINER
AS $function$
  CLUSTER 'sessionsql';
  RUN ON sessionsql.shard_of(id);
  TARGET sessionsql.rotate;
$function$;

CREATE OR REPLACE FUNCTION sessionsql.rotate(
  id bigint,
  secret_hash bytea,
  new_secret_hash bytea,
  grace interval DEFAULT '10 seconds',
  subject text DEFAULT NULL,
  max_sessions integer DEFAULT NULL
)
RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY DEFINER COST 1000
SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
  IF rotate.max_sessions IS NOT NULL THEN
    RAISE feature_not_supported USING
      MESSAGE = 'sessionsql.rotate: a router cannot enforce max_sessions';
  END IF;
  RETURN sessionsql_router.rotate(
    rotate.id, rotate.secret_hash, rotate.new_secret_hash, rotate.grace, rotate.subject, NULL
  );
END
$function$;

CREATE OR REPLACE FUNCTION sessionsql.revoke(id bigint, secret_hash bytea)
RETURNS boolean
LANGUAGE plproxy VOLATILE SECURITY DEFINER
AS $function$
  CLUSTER 'sessionsql';
  RUN ON sessionsql.shard_of(id);
$function$;

CREATE OR REPLACE FUNCTION sessionsql.revoke_batch(ids bigint[], secret_hashes bytea[])
RETURNS SETOF bigint
LANGUAGE plproxy VOLATILE SECURITY DEFINER
AS $function$
  CLUSTER 'sessionsql';
  SPLIT ids, secret_hashes;
  RUN ON sessionsql.shard_of(ids);
$function$;

CREATE OR REPLACE FUNCTION sessionsql.revoke_listed_of(subject text, listed_id bigint)
RETURNS boolean
LANGUAGE plproxy VOLATILE SECURITY DEFINER
AS $function$
  CLUSTER 'sessionsql';
  RUN ON sessionsql.shard_of(listed_id);
$function$;

-- The two sessions may be on two shards. So a presented session that is revoked at the same moment may still
-- end the listed one.
CREATE OR REPLACE FUNCTION sessionsql.revoke_listed(id bigint, secret_hash bytea, listed_id bigint)
RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY DEFINER COST 1000
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  subject CONSTANT text := (
    SELECT l.subject FROM sessionsql.lookup(revoke_listed.id, revoke_listed.secret_hash) AS l
  );
BEGIN
  RETURN subject IS NOT NULL
    AND revoke_listed.id <> revoke_listed.listed_id
    AND sessionsql.revoke_listed_of(subject, revoke_listed.listed_id);
END
$function$;

CREATE OR REPLACE FUNCTION sessionsql_router.revoke_subject(subject text, keep_id bigint)
RETURNS SETOF bigint
LANGUAGE plproxy VOLATILE SECURITY DEFINER
AS $function$
  CLUSTER 'sessionsql';
  RUN ON ALL;
  TARGET sessionsql.revoke_subject;
$function$;

CREATE OR REPLACE FUNCTION sessionsql.revoke_subject(subject text, keep_id bigint DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY DEFINER COST 1000
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  shards CONSTANT integer := sessionsql.shards();
  revoked bigint;
BEGIN
  SELECT sum(r.revoked) INTO revoked
  FROM sessionsql_router.revoke_subject(revoke_subject.subject, revoke_subject.keep_id) AS r (revoked);

  PERFORM sessionsql_router.check_shards(shards);
  RETURN revoked;
END
$function$;

CREATE OR REPLACE FUNCTION sessionsql_router.list_subject(subject text)
RETURNS SETOF sessionsql.listed_session
LANGUAGE plproxy VOLATILE SECURITY DEFINER
AS $function$
  CLUSTER 'sessionsql';
  RUN ON ALL;
  TARGET sessionsql.list_subject;
$function$;

CREATE OR REPLACE FUNCTION sessionsql.list_subject(subject text)
RETURNS SETOF sessionsql.listed_session
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY DEFINER COST 1000 ROWS 10
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  shards CONSTANT integer := sessionsql.shards();
BEGIN
  RETURN QUERY
    SELECT
      l.id,
      l.created_at,
      l.expires_in,
      l.label
    FROM sessionsql_router.list_subject(list_subject.subject) AS l
    ORDER BY l.created_at DESC, l.id DESC;

  PERFORM sessionsql_router.check_shards(shards);
END
$function$;

CREATE OR REPLACE FUNCTION sessionsql.use_session(token text, durable boolean DEFAULT false)
RETURNS SETOF sessionsql.live_session
LANGUAGE plproxy VOLATILE SECURITY DEFINER
AS $function$
  CLUSTER 'sessionsql';
  RUN ON sessionsql.shard_of(sessionsql.token_id(token));
$function$;

CREATE OR REPLACE FUNCTION sessionsql_router.reap(max_rows integer, max_pages integer, durable boolean)
RETURNS SETOF sessionsql.last_reap
LANGUAGE plproxy VOLATILE SECURITY DEFINER
AS $function$
  CLUSTER 'sessionsql';
  RUN ON ALL;
  TARGET sessionsql.reap;
$function$;

-- max_rows and max_pages bound the work on each shard. A lap is done when each shard that reaped is at its
-- end.
CREATE OR REPLACE FUNCTION sessionsql.reap(
  max_rows integer DEFAULT 1000,
  max_pages integer DEFAULT 4096,
  durable boolean DEFAULT false
)
RETURNS SETOF sessionsql.last_reap
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY DEFINER COST 10000 ROWS 1
SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
  RETURN QUERY
    SELECT
      sum(r.reaped)::bigint,
      sum(r.pages)::bigint,
      bool_and(r.lap_done)
    FROM sessionsql_router.reap(reap.max_rows, reap.max_pages, reap.durable) AS r
    HAVING count(*) > 0;
END
$function$;

CREATE OR REPLACE FUNCTION sessionsql.cache_get_batch(keys uuid[])
RETURNS SETOF sessionsql.cache_live
LANGUAGE plproxy VOLATILE SECURITY DEFINER
AS $function$
  CLUSTER 'sessionsql';
  SPLIT keys;
  RUN ON sessionsql.shard_of(keys);
$function$;

CREATE OR REPLACE FUNCTION sessionsql_router.cache_set_batch(
  keys uuid[],
  spaces integer[],
  entry_values bytea[],
  ttl_seconds double precision[],
  plain_keys bytea[],
  slack_seconds double precision[],
  durable boolean
)
RETURNS SETOF uuid
LANGUAGE plproxy VOLATILE SECURITY DEFINER
AS $function$
  CLUSTER 'sessionsql';
  SPLIT keys, spaces, entry_values, ttl_seconds, plain_keys, slack_seconds;
  RUN ON sessionsql.shard_of(keys);
  TARGET sessionsql.cache_set_batch;
$function$;

-- PL/Proxy splits no null array.
CREATE OR REPLACE FUNCTION sessionsql.cache_set_batch(
  keys uuid[],
  spaces integer[],
  entry_values bytea[],
  ttl_seconds double precision[],
  plain_keys bytea[] DEFAULT NULL,
  slack_seconds double precision[] DEFAULT NULL,
  durable boolean DEFAULT false
)
RETURNS SETOF uuid
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY DEFINER COST 1000 ROWS 1
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  size CONSTANT integer[] := ARRAY[cardinality(cache_set_batch.keys)];
BEGIN
  RETURN QUERY
    SELECT r.refused
    FROM sessionsql_router.cache_set_batch(
      cache_set_batch.keys,
      cache_set_batch.spaces,
      cache_set_batch.entry_values,
      cache_set_batch.ttl_seconds,
      COALESCE(cache_set_batch.plain_keys, array_fill(NULL::bytea, size)),
      COALESCE(cache_set_batch.slack_seconds, array_fill(NULL::double precision, size)),
      cache_set_batch.durable
    ) AS r (refused);
END
$function$;

CREATE OR REPLACE FUNCTION sessionsql_router.cache_touch_batch(
  keys uuid[],
  ttl_seconds double precision[],
  durable boolean
)
RETURNS SETOF bigint
LANGUAGE plproxy VOLATILE SECURITY DEFINER
AS $function$
  CLUSTER 'sessionsql';
  SPLIT keys, ttl_seconds;
  RUN ON sessionsql.shard_of(keys);
  TARGET sessionsql.cache_touch_batch;
$function$;

CREATE OR REPLACE FUNCTION sessionsql.cache_touch_batch(
  keys uuid[],
  ttl_seconds double precision[],
  durable boolean DEFAULT false
)
RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY DEFINER COST 1000
SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
  RETURN (
    SELECT COALESCE(sum(t.touched), 0)
    FROM sessionsql_router.cache_touch_batch(
      cache_touch_batch.keys, cache_touch_batch.ttl_seconds, cache_touch_batch.durable
    ) AS t (touched)
  );
END
$function$;

CREATE OR REPLACE FUNCTION sessionsql.cache_delete_batch(
  keys uuid[],
  final boolean DEFAULT false,
  durable boolean DEFAULT false
)
RETURNS SETOF uuid
LANGUAGE plproxy VOLATILE SECURITY DEFINER
AS $function$
  CLUSTER 'sessionsql';
  SPLIT keys;
  RUN ON sessionsql.shard_of(keys);
$function$;

CREATE OR REPLACE FUNCTION sessionsql.cache_add(
  key uuid,
  space integer,
  value bytea,
  ttl_seconds double precision,
  plain_key bytea DEFAULT NULL,
  durable boolean DEFAULT false
)
RETURNS boolean
LANGUAGE plproxy VOLATILE SECURITY DEFINER
AS $function$
  CLUSTER 'sessionsql';
  RUN ON sessionsql.shard_of(key);
$function$;

CREATE OR REPLACE FUNCTION sessionsql.cache_swap(
  key uuid,
  old_hash bytea,
  value bytea,
  ttl_seconds double precision DEFAULT NULL,
  final boolean DEFAULT false,
  durable boolean DEFAULT false
)
RETURNS integer
LANGUAGE plproxy VOLATILE SECURITY DEFINER
AS $function$
  CLUSTER 'sessionsql';
  RUN ON sessionsql.shard_of(key);
$function$;

CREATE OR REPLACE FUNCTION sessionsql.cache_increment_by_key(
  key uuid,
  space integer,
  delta bigint,
  ttl_seconds double precision,
  plain_key bytea DEFAULT NULL,
  durable boolean DEFAULT false
)
RETURNS bigint
LANGUAGE plproxy VOLATILE SECURITY DEFINER
AS $function$
  CLUSTER 'sessionsql';
  RUN ON sessionsql.shard_of(key);
$function$;

CREATE OR REPLACE FUNCTION sessionsql_router.cache_list(space integer, after uuid, max_rows integer)
RETURNS SETOF sessionsql.cache_listed
LANGUAGE plproxy VOLATILE SECURITY DEFINER
AS $function$
  CLUSTER 'sessionsql';
  RUN ON ALL;
  TARGET sessionsql.cache_list;
$function$;

CREATE OR REPLACE FUNCTION sessionsql.cache_list(space integer, after uuid, max_rows integer)
RETURNS SETOF sessionsql.cache_listed
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY DEFINER COST 1000 ROWS 100
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  shards CONSTANT integer := sessionsql.shards();
BEGIN
  RETURN QUERY
    SELECT
      l.key,
      l.plain_key,
      l.value,
      l.expires_in,
      l.space
    FROM sessionsql_router.cache_list(cache_list.space, cache_list.after, cache_list.max_rows) AS l
    ORDER BY l.key
    LIMIT cache_list.max_rows;

  PERFORM sessionsql_router.check_shards(shards);
END
$function$;

CREATE OR REPLACE FUNCTION sessionsql_router.cache_len(space integer)
RETURNS SETOF bigint
LANGUAGE plproxy VOLATILE SECURITY DEFINER
AS $function$
  CLUSTER 'sessionsql';
  RUN ON ALL;
  TARGET sessionsql.cache_len;
$function$;

CREATE OR REPLACE FUNCTION sessionsql.cache_len(space integer)
RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY DEFINER COST 10000
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  shards CONSTANT integer := sessionsql.shards();
  entries bigint;
BEGIN
  SELECT sum(l.entries) INTO entries
  FROM sessionsql_router.cache_len(cache_len.space) AS l (entries);

  PERFORM sessionsql_router.check_shards(shards);
  RETURN entries;
END
$function$;

CREATE OR REPLACE FUNCTION sessionsql_router.cache_clear(space integer, final boolean, durable boolean)
RETURNS SETOF bigint
LANGUAGE plproxy VOLATILE SECURITY DEFINER
AS $function$
  CLUSTER 'sessionsql';
  RUN ON ALL;
  TARGET sessionsql.cache_clear;
$function$;

CREATE OR REPLACE FUNCTION sessionsql.cache_clear(
  space integer,
  final boolean DEFAULT false,
  durable boolean DEFAULT false
)
RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY DEFINER COST 10000
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  shards CONSTANT integer := sessionsql.shards();
  ended bigint;
BEGIN
  SELECT sum(c.ended) INTO ended
  FROM sessionsql_router.cache_clear(cache_clear.space, cache_clear.final, cache_clear.durable) AS c (ended);

  PERFORM sessionsql_router.check_shards(shards);
  RETURN ended;
END
$function$;

CREATE OR REPLACE FUNCTION sessionsql_router.cache_reap(
  max_rows integer,
  max_pages integer,
  durable boolean,
  spaces integer[],
  budgets bigint[]
)
RETURNS SETOF sessionsql.last_cache_reap
LANGUAGE plproxy VOLATILE SECURITY DEFINER
AS $function$
  CLUSTER 'sessionsql';
  RUN ON ALL;
  TARGET sessionsql.cache_reap;
$function$;

-- Keys are spread evenly, so each shard keeps to its equal part of a budget.
CREATE OR REPLACE FUNCTION sessionsql.cache_reap(
  max_rows integer DEFAULT 1000,
  max_pages integer DEFAULT 4096,
  durable boolean DEFAULT false,
  spaces integer[] DEFAULT NULL,
  budgets bigint[] DEFAULT NULL
)
RETURNS SETOF sessionsql.last_cache_reap
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY DEFINER COST 10000 ROWS 1
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  shards CONSTANT integer := sessionsql.shards();
BEGIN
  RETURN QUERY
    SELECT
      sum(r.reaped)::bigint,
      sum(r.evicted)::bigint,
      sum(r.pages)::bigint,
      bool_and(r.lap_done)
    FROM sessionsql_router.cache_reap(
      cache_reap.max_rows,
      cache_reap.max_pages,
      cache_reap.durable,
      cache_reap.spaces,
      CASE WHEN cache_reap.budgets IS NOT NULL THEN ARRAY(
        SELECT CASE WHEN b.budget > 0 THEN GREATEST(b.budget / shards, 1) ELSE b.budget END
        FROM unnest(cache_reap.budgets) WITH ORDINALITY AS b (budget, position)
        ORDER BY b.position
      ) END
    ) AS r
    HAVING count(*) > 0;
END
$function$;

-- The functions above have new owners and privileges where roles.sql has run.
DO $router$
DECLARE
  f regprocedure;
  owner name;
BEGIN
  SELECT n.nspowner::regrole INTO owner FROM pg_namespace AS n WHERE n.nspname = 'sessionsql';
  EXECUTE format('ALTER SCHEMA sessionsql_router OWNER TO %I', owner);
  FOR f IN
    SELECT p.oid FROM pg_proc AS p WHERE p.pronamespace = 'sessionsql_router'::regnamespace
  LOOP
    EXECUTE format('ALTER FUNCTION %s OWNER TO %I', f, owner);
  END LOOP;
END
$router$;
REVOKE EXECUTE ON ALL ROUTINES IN SCHEMA sessionsql_router FROM PUBLIC;
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
