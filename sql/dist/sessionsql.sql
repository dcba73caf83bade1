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
-- The first file of an installation: it finds out what there is to do, and refuses what it must not touch.
-- The manifest reads the answer from settings of this transaction:
--
--     sessionsql.installed    the version of the bundle that is there; empty when there is none
--     sessionsql.wanted       the version of this bundle
--     sessionsql.migrated     the number of the last migration that ran; 0 when there is none
--     sessionsql.schema       whether the schema is there
--     sessionsql.roles        whether roles.sql has run here
--     sessionsql.settings     what end.sql puts back
--
-- When this version is there already, the installation ends here without a lock and without a write.
DO $begin$
DECLARE
  -- scripts/generate.sh copies it from functions/version.sql.
  wanted CONSTANT pg_catalog.text := '0.2.0';
  installed pg_catalog.text := '';
  migrated pg_catalog.text := '0';
  owner pg_catalog.text;
  trusted pg_catalog.bool;
BEGIN
  -- From here on no name is looked up in a schema of the installing role.
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
    -- Whoever owns the schema may have put anything into it, and this installation would run it.
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
          'sessionsql: the schema sessionsql belongs to role %I, who may have put anything into it', owner
        ),
        HINT = 'Drop the schema, or install as its owner.';
    END IF;

    IF to_regprocedure('sessionsql.version()') IS NOT NULL THEN
      installed := sessionsql.version();
    END IF;
    EXIT WHEN installed = wanted OR attempt = 2;

    -- Two installations at once wait for each other instead of failing on a catalog conflict. The one that
    -- waited looks again.
    PERFORM pg_advisory_xact_lock(hashtextextended('sessionsql', 0));
  END LOOP;

  IF string_to_array(installed, '.')::integer[] > string_to_array(wanted, '.')::integer[] THEN
    RAISE object_not_in_prerequisite_state USING
      MESSAGE = format(
        'sessionsql: bundle %s is installed, which is newer than %s: nothing was changed', installed, wanted
      ),
      HINT = 'An installation never puts an older bundle over a newer one.';
  END IF;
  IF to_regclass('sessionsql.migration') IS NOT NULL THEN
    SELECT max(m.id)::text INTO migrated FROM sessionsql.migration AS m;
  END IF;

  IF installed <> wanted THEN
    -- A change of a table waits for whoever reads it, and everybody else would wait behind that. So it gives
    -- up after a moment, and whoever installs tries again.
    PERFORM set_config('lock_timeout', '250ms', true);
    -- An autovacuum makes way only for who has waited for deadlock_timeout.
    IF has_parameter_privilege('deadlock_timeout', 'SET') THEN
      PERFORM set_config('deadlock_timeout', '100ms', true);
    END IF;
    -- The notices of IF EXISTS say nothing to anybody.
    PERFORM set_config('client_min_messages', 'warning', true);
  END IF;
  PERFORM set_config('sessionsql.installed', installed, true);
  PERFORM set_config('sessionsql.migrated', migrated, true);
  PERFORM set_config('sessionsql.schema', (owner IS NOT NULL)::text, true);
  PERFORM set_config('sessionsql.roles', COALESCE(owner = 'sessionsql_owner', false)::text, true);
END
$begin$;

-- Outside of a transaction those settings are forgotten by now, and half of an installation is worse than
-- none.
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
  s.migrated < 1 AS before_1,
  s.migrated < 2 AS before_2,
  s.migrated < 3 AS before_3,
  s.migrated < 4 AS before_4,
  s.migrated < 5 AS before_5,
  s.roles AS roles
FROM (
  SELECT
    current_setting('sessionsql.installed') AS installed,
    current_setting('sessionsql.wanted') AS wanted,
    current_setting('sessionsql.migrated')::integer AS migrated,
    current_setting('sessionsql.schema')::boolean AS schema,
    current_setting('sessionsql.roles')::boolean AS roles
) AS s
) AS q;
IF state.due AND NOT state.fresh AND NOT state.before_2 THEN PERFORM pg_catalog.pg_sleep(0.25); END IF;
IF state.due THEN
IF state.bare THEN
EXECUTE $file$
-- The bundle's schema, in a file of its own because an extension's script must not create it.
CREATE SCHEMA sessionsql;
$file$;
END IF;
IF state.fresh THEN
EXECUTE $file$
-- Names for the parameters that cross from a client as text. The functions take plain arrays and text; only
-- the queries in sql/queries cast to these domains, because the name tells sqlc which Go type to generate
-- (FACTS of the design: a bare bigint[] parameter would link a second driver into every user's program).
CREATE DOMAIN sessionsql.id_list AS bigint[];
CREATE DOMAIN sessionsql.hash_list AS bytea[];
CREATE DOMAIN sessionsql.payload AS text;
CREATE DOMAIN sessionsql.payload_list AS text[];
CREATE DOMAIN sessionsql.seconds_list AS double precision[];
CREATE DOMAIN sessionsql.subject_list AS text[];
CREATE DOMAIN sessionsql.version_list AS integer[];
$file$;
EXECUTE $file$
-- One row a session. Rows are what a write costs: no column without a rule that needs it, and no index that a
-- keepalive would have to maintain.
--
-- There is no CHECK and no UNIQUE here, and the functions refuse NULL before the table would: a violation
-- prints the whole row, payload and hash included, to the client and to the server log, whatever the log
-- settings are.
--
-- The table as it was in 0.1.0. What came later is in migrations/, which a fresh installation runs as well.
CREATE TABLE sessionsql.session (
  -- A number to find the row by, handed out in blocks of 100 so that concurrent inserts do not queue for the
  -- sequence. Never a credential: after a crash ids are handed out again. Always growing, so the index is
  -- appended to.
  id bigint GENERATED ALWAYS AS IDENTITY (CACHE 100) PRIMARY KEY,
  -- Never indexed: an index here would make every keepalive a cold update (0 % HOT instead of 100 %).
  expires_at timestamptz NOT NULL,
  deadline timestamptz NOT NULL DEFAULT 'infinity',
  created_at timestamptz NOT NULL,
  idle_seconds double precision NOT NULL,
  version integer NOT NULL,
  secret_hash bytea NOT NULL,
  previous_hash bytea,
  previous_until timestamptz,
  subject text,
  -- text, also for JSON: nobody asks the server what is inside, and jsonb costs a parse on every write and
  -- every read.
  payload text NOT NULL
) WITH (
  -- Room on each page for the next version of its rows: at 70, 100.0 % of keepalive updates are HOT and the
  -- table does not grow; at 80 99.4 % and 1 %, at 90 94.0 % and 10 %, at 100 86.6 % and 27 %. Below 70
  -- nothing more is gained.
  fillfactor = 70,
  -- Vacuum at 1 % dead rows instead of 20 %: a fifth of a session table dies within minutes. The 2000 keep a
  -- small table from being vacuumed at every wake-up of the launcher.
  autovacuum_vacuum_threshold = 2000,
  autovacuum_vacuum_scale_factor = 0.01,
  -- The server's default since 12, said aloud so that a cluster tuned for slow disks does not starve this
  -- table.
  autovacuum_vacuum_cost_delay = 2,
  -- Giving pages at the end back to the disk needs an ACCESS EXCLUSIVE lock, which is replayed on replicas
  -- and cancels lookups there. Sessions fill those pages again within minutes.
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

-- Payloads over 2 kB are compressed: with lz4 instead of pglz where the server was built with it, as those of
-- the usual distributions are. Inserts of JSON of 8 kB then take 0.7 of the CPU time and of 64 kB 0.5, for 2
-- % more disk at most; lookups cost the same. Once only, because it locks out everybody for a moment, and
-- never over an operator's own choice.
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

-- Only for "log out everywhere" and "where am I logged in"; anonymous sessions pay nothing for it.
CREATE INDEX session_subject ON sessionsql.session (subject) WHERE subject IS NOT NULL;
$file$;
EXECUTE $file$
-- Where the reaper's clock hand stands, and what its last call and last lap did. One row: its lock is also
-- what makes one reaper at a time, on every kind of connection pooler.
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
  -- Rewritten at every call: nearly all of the page stays free, so that each rewrite is HOT and pruned in
  -- place.
  fillfactor = 10,
  -- Fewer dead rows than the server's default of 50 would have to wait for; the page never needs a second
  -- one.
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
-- The sessions that are alive, as a reader may see them: no hash, no timestamps that a client could compare
-- with a clock of its own. What is left is in seconds by the server's clock.
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
-- The result of 0.1.0's list_subject, whose place views/listed_session.sql has taken. It stays as it was: a
-- call that is under way during an upgrade from 0.1.0 ends by it.
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
-- The row type of what insert_batch returns: the hash tells the caller which of its sessions got which id.
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
-- The row type of what update_payload_batch returns.
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
-- What the reaper's last call did; also the row type of what reap returns.
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
-- Which files of sql/migrations have run here, each once.
CREATE TABLE sessionsql.migration (
  id integer PRIMARY KEY,
  name text NOT NULL,
  applied_at timestamptz NOT NULL DEFAULT now()
);

COMMENT ON TABLE sessionsql.migration IS 'The migrations that have run in this database.';
COMMENT ON COLUMN sessionsql.migration.id IS 'Number of the migration: the first part of its file''s name.';
COMMENT ON COLUMN sessionsql.migration.name IS 'The rest of its file''s name.';
COMMENT ON COLUMN sessionsql.migration.applied_at IS 'When it ran.';
$file$;
EXECUTE $file$
-- A label for each session, so that a user can tell their sessions apart in a list. It locks everybody out of
-- the table for a moment, because every new column does; it rewrites no row.
ALTER TABLE sessionsql.session ADD COLUMN label text;

COMMENT ON COLUMN sessionsql.session.label IS
  'What a user tells their sessions apart by ("Firefox on Linux").';

INSERT INTO sessionsql.migration (id, name) VALUES (1, 'label');
$file$;
END IF;
IF state.before_2 THEN
EXECUTE $file$
-- list_subject returns the label as well: rows of views/listed_session.sql. A function's result cannot be
-- replaced, so the function of 0.1.0 makes room for its successor. It is renamed and not dropped, because a
-- call of it that is under way finds it by number; migration 5 drops it.
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
-- A session as its owner may see it in a list of places where they are logged in: no secret and no payload.
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
  'What its user tells it apart by; null when none was given.';
$file$;
END IF;
IF state.before_4 THEN
EXECUTE $file$
-- One row for the engineer at 3 a.m. and for a dashboard: cheap, no count(*), nothing that locks. Run it on
-- the primary; a replica answers null for what it cannot know, because servers count their own reads and
-- writes. Another role's transactions are only seen by members of pg_read_all_stats.
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

COMMENT ON VIEW sessionsql.health IS 'The state of the session table in one cheap row.';
COMMENT ON COLUMN sessionsql.health.estimated_rows IS
  'Rows by the last vacuum or analyze, expired ones included.';
COMMENT ON COLUMN sessionsql.health.heap_bytes IS 'Bytes of the table with its TOAST table.';
COMMENT ON COLUMN sessionsql.health.index_bytes IS 'Bytes of its indexes.';
COMMENT ON COLUMN sessionsql.health.dead_tuples IS
  'Row versions that vacuum has yet to remove; null on a replica.';
COMMENT ON COLUMN sessionsql.health.hot_ratio IS
  'Share of updates that touched no index, 0 to 1; watch below 0.99. Null on a replica.';
COMMENT ON COLUMN sessionsql.health.last_autovacuum IS
  'When autovacuum last finished here; null when never, and on a replica.';
COMMENT ON COLUMN sessionsql.health.oldest_xmin_age IS
  'Transactions since the oldest snapshot that holds vacuum back anywhere on the server; null on a replica.';
COMMENT ON COLUMN sessionsql.health.oldest_expired IS
  'Earliest expires_at that the reaper met in its last whole lap; null when none was expired.';
COMMENT ON COLUMN sessionsql.health.last_lap_ended_at IS 'When the reaper last ended a lap; null when never.';
COMMENT ON COLUMN sessionsql.health.wraparound_age IS 'Transactions since the table was last frozen.';
$file$;
EXECUTE $file$
-- The timeline that the primary writes on, noted in a row. A replica that has replayed the note follows the
-- server that wrote it, and nothing else tells a client that without further privileges. One row.
CREATE TABLE sessionsql.timeline (
  singleton boolean PRIMARY KEY DEFAULT true,
  noted integer NOT NULL DEFAULT 0
);

COMMENT ON TABLE sessionsql.timeline IS
  'The timeline of the primary, as it was last noted; one row, never more.';
COMMENT ON COLUMN sessionsql.timeline.singleton IS
  'True: the key of the only row.';
COMMENT ON COLUMN sessionsql.timeline.noted IS
  'A number that every promotion raises; 0 before the first note.';

INSERT INTO sessionsql.timeline (singleton) VALUES (true);
$file$;
EXECUTE $file$
-- What a client has to know of the server it talks to: whether it is primary or replica, of which cluster and
-- timeline, how far its WAL has come, and what its clock says.
--
-- A write that was acknowledged before the primary's wal_position was read is visible on every replica whose
-- wal_position is that or more. It is the primary's insert position, because an asynchronous commit is
-- acknowledged before it is flushed. Replicas receive only what is flushed, so a replica's lag is measured
-- against flushed_position.
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
COMMENT ON COLUMN sessionsql.node.timeline IS 'Timeline that a primary writes on; 0 on a replica.';
COMMENT ON COLUMN sessionsql.node.noted_timeline IS
  'Timeline that was last noted, as far as this server knows.';
COMMENT ON COLUMN sessionsql.node.system_identifier IS
  'The same on a primary and all its replicas, and on no other.';
COMMENT ON COLUMN sessionsql.node.started_at IS
  'When the server was started, in seconds since 1970: no two have it the same.';
COMMENT ON COLUMN sessionsql.node.clock IS 'Seconds since 1970 by the server''s clock.';
$file$;
END IF;
EXECUTE $file$
-- The largest idle timeout and lifetime: 100 years of 365.25 days. Go reads it here.
CREATE OR REPLACE FUNCTION sessionsql.max_timeout()
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT SECURITY INVOKER COST 1
BEGIN ATOMIC
  SELECT 3155760000::double precision;
END;

COMMENT ON FUNCTION sessionsql.max_timeout() IS 'Largest idle timeout and lifetime, in seconds.';
$file$;
EXECUTE $file$
-- The longest subject: an index entry has to fit a third of a page. Go reads it here.
CREATE OR REPLACE FUNCTION sessionsql.max_subject_bytes()
RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT SECURITY INVOKER COST 1
BEGIN ATOMIC
  SELECT 1024;
END;

COMMENT ON FUNCTION sessionsql.max_subject_bytes() IS 'Longest subject, in bytes.';
$file$;
EXECUTE $file$
-- The longest label: room for a browser, a system and a place, and no room for a payload. Go reads it here.
CREATE OR REPLACE FUNCTION sessionsql.max_label_bytes()
RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT SECURITY INVOKER COST 1
BEGIN ATOMIC
  SELECT 256;
END;

COMMENT ON FUNCTION sessionsql.max_label_bytes() IS 'Longest label, in bytes.';
$file$;
EXECUTE $file$
-- Lets the commit of the caller's transaction not wait for the disk, unless durable. It does so only while
-- the transaction has written nothing: a logout, or whatever else was written before in the same transaction,
-- keeps its durability.
--
-- The setting is local to the transaction and made here, because a SET clause of a function ends before the
-- commit. An expression and not statements, so that it is inlined.
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
  'Lets the transaction commit without waiting for the disk, unless durable or written in already.';
$file$;
EXECUTE $file$
-- Has the commit of the caller's transaction wait for the disk, also where the connection's default, or an
-- asynchronous call before in the same transaction, says otherwise. After such a call it puts the
-- connection's default back, which may be stronger than "on"; a default that does not wait becomes "on".
--
-- A function of the caller's own with SET synchronous_commit ends that setting before the commit: nothing
-- here can mend it.
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

COMMENT ON FUNCTION sessionsql.commit_synchronously() IS 'Has the transaction''s commit wait for the disk.';
$file$;
EXECUTE $file$
-- Sliding expiration, written once: with idle timeout T and slack T/3, a use moves expiry to now + T + T/3,
-- never past the deadline. The slack is what lets touch_batch leave a row alone until less than T is left, so
-- that a busy session is rewritten once every T/3 and not at every request.
--
-- By clock_timestamp(), as whatever a writer decides: now() is the past in a long transaction, and
-- statement_timestamp() in a statement that has waited for a lock. Not STRICT, no SET clause: either would
-- keep the planner from inlining it.
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
  'When a session that is used now expires: idle timeout plus a third, never past the deadline.';
$file$;
EXECUTE $file$
-- The absolute timeout of a session that begins now; infinity when there is none. Inlined; see next_expiry.
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
  'When a session that begins now reaches its lifetime; infinity for null.';
$file$;
EXECUTE $file$
-- Which sessions a touch writes, said once for the two places in touch_batch that must agree: alive, less
-- than the idle timeout left, and not yet at the deadline, where there is nothing to give. No SET clause and
-- not STRICT: inlined.
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
  'Whether a touch has something to give: alive, less than the idle timeout left, deadline not reached.';
$file$;
EXECUTE $file$
-- Whether a presented hash opens a row: it is the current one, or the one before it while the grace after a
-- rotate lasts. Writers, which may have waited for the row, ask for clock_timestamp(); readers call opens.
--
-- Comparing hashes needs no constant time: to learn one byte of a stored hash, an attacker would have to
-- choose the bytes of a SHA-256 digest. No SET clause and not STRICT: inlined.
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
  'Whether a presented hash is the session''s current one, or its previous one within the grace of a rotate.';
$file$;
EXECUTE $file$
-- Whether a presented hash opens a row, for readers: at their statement's time. No SET clause and not STRICT,
-- so that it is inlined.
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
  'Whether a presented hash is the session''s current one, or its previous one within the grace of a rotate.';
$file$;
EXECUTE $file$
-- Whether insert must ask check_insert: false for every call that check_insert passes, as long as it has no
-- cap. An expression and not statements, so that it is inlined; BEGIN ATOMIC binds its operators, so that
-- insert needs no SET search_path, whose price at each call is measurable.
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
  'Whether check_insert must look at these values: a cap is given, or one of them is to be refused.';
$file$;
EXECUTE $file$
-- Bad input to insert and insert_batch, refused by name before it reaches the table, whose own errors would
-- print the row with its payload. Returns nothing; raises without any value in the message.
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
      THEN 'idle timeout must be positive, 100 years at most'
    WHEN NOT (check_insert.lifetime_seconds > 0 AND check_insert.lifetime_seconds <= sessionsql.max_timeout())
      THEN 'lifetime must be positive, 100 years at most, or null for none'
    WHEN octet_length(check_insert.subject) > sessionsql.max_subject_bytes()
      THEN format('subject must be %s bytes at most', sessionsql.max_subject_bytes())
    WHEN octet_length(check_insert.label) > sessionsql.max_label_bytes()
      THEN format('label must be %s bytes at most', sessionsql.max_label_bytes())
    WHEN NOT (check_insert.max_sessions > 0)
      THEN 'max_sessions must be positive, or null for no cap'
    WHEN check_insert.max_sessions IS NOT NULL AND check_insert.subject IS NULL
      THEN 'max_sessions caps the sessions of a subject: give one'
  END;
  IF problem IS NOT NULL THEN
    RAISE invalid_parameter_value USING MESSAGE = 'sessionsql.insert: ' || problem;
  END IF;
END
$function$;

COMMENT ON FUNCTION
  sessionsql.check_insert(bytea, text, double precision, double precision, text, integer, text) IS
  'Raises when a session could not be inserted with these values, without repeating them.';
$file$;
EXECUTE $file$
-- The cap behind max_sessions, first step: locks the oldest live sessions of a subject that have to end so
-- that it has at most max_sessions with keep_id, and returns their ids. keep_id is the session that this
-- login makes; it never counts among the oldest, whatever the clock says of it. end_excess ends them.
--
-- Logins of one subject take turns here, until their transactions end, or each would not see the other's
-- session. That takes read committed: with a snapshot from before the turn, a login would count without those
-- that it waited for.
--
-- Rows are locked in id order, keep_id among them, so this cannot deadlock with any function of this bundle.
-- No plan may find them otherwise than by an index: a table that grew since the plan was made would be read
-- whole.
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
  'Locks the oldest live sessions of a subject beyond max_sessions, but for keep_id; returns their ids.';
$file$;
EXECUTE $file$
-- The cap behind max_sessions, second step: ends the sessions that lock_excess has locked; returns how many.
-- An eviction is a logout, so it makes the transaction commit synchronously; when there is none, nothing
-- waits.
--
-- No plan may find the rows otherwise than by an index: a table that grew since the plan was made would be
-- read whole.
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
    PERFORM sessionsql.commit_synchronously();
  END IF;
  RETURN ended;
END
$function$;

COMMENT ON FUNCTION sessionsql.end_excess(bigint[]) IS
  'Ends the sessions that lock_excess has locked; returns how many.';
$file$;
EXECUTE $file$
-- The cap behind insert's max_sessions: ends the oldest live sessions of a subject beyond max_sessions,
-- keep_id being one of those that stay; returns how many.
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
  'Ends the oldest live sessions of a subject beyond max_sessions, but for keep_id; returns how many.';
$file$;
EXECUTE $file$
-- One new session; returns its id. The client made the secret and sends only SHA-256 of it, so nothing that
-- this server stores, logs or replicates opens a session.
--
-- Promises: unless durable, the commit does not wait for the disk, and a crash within three wal_writer_delay
-- may lose the session, whole and never half. That goes for all that the same transaction writes after this
-- call, and for nothing that it wrote before. A durable insert leaves the transaction as durable as it was.
--
-- With max_sessions, a subject has at most so many live sessions: the oldest are ended by the newest, in the
-- same statement. It needs a transaction of isolation level read committed.
--
-- Bad input is refused by name before it reaches the table, whose own NOT NULL errors would print the row.
-- PL/pgSQL, because its plans are cached: a SQL function that cannot be inlined is planned at each call
-- before 18.
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
-- No SET search_path, which would cost some 5 % of a call: there is no operator below, every function is
-- qualified, every type is a keyword or qualified, and what has operators is a BEGIN ATOMIC function that is
-- inlined.
AS $function$
DECLARE
  idle_seconds CONSTANT double precision := pg_catalog.date_part('epoch', insert.idle_timeout);
  lifetime_seconds CONSTANT double precision := pg_catalog.date_part('epoch', insert.lifetime);
  -- Assigned and not performed, because PL/pgSQL computes a bare expression without starting the executor.
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
-- Many new sessions in one statement, one element of each array a session; returns (id, secret_hash) of each.
-- Callers of an application that insert at the same moment share one round trip and one commit record.
--
-- A null element of lifetime_seconds, subjects or labels means none. All or nothing: one bad element fails
-- the statement, and nothing of it is kept. What durable promises is said in insert.
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
-- One plan for batches of any length; see lookup_batch.
SET plan_cache_mode = force_generic_plan
AS $function$
BEGIN
  IF current_setting('array_nulls') = 'off' THEN
    -- A null in the text of an array has become the word NULL by now, and somebody's subject.
    RAISE invalid_parameter_value USING
      MESSAGE = 'sessionsql.insert_batch: the setting array_nulls must be on';
  END IF;

  -- Arrays of different lengths are padded with nulls by unnest, and a null is refused like any other bad
  -- element.
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
  'Inserts many sessions; returns the id and hash of each. Commits asynchronously unless durable.';
$file$;
EXECUTE $file$
-- What lookup and lookup_batch return, said once: the live session that an id and a secret's hash open, for
-- both to inline. They are what is granted; this stays without SECURITY DEFINER also where roles.sql gives it
-- to them.
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
  'The live session that this id and secret hash open; inlined by lookup and lookup_batch.';
$file$;
EXECUTE $file$
-- The live session that this id and secret hash open; no row = no such live session, whatever the reason.
--
-- A pure SELECT: valid on a replica. No SECURITY DEFINER, no SET clause and not STRICT, so that the planner
-- inlines it and a call costs what the bare query costs; BEGIN ATOMIC binds every name when the function is
-- created, which makes it safe from search_path without a SET clause.
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
  'The live session that this id and secret hash open; no row when there is none.';
$file$;
EXECUTE $file$
-- The live sessions that these ids and secret hashes open, element by element: ids[i] goes with
-- secret_hashes[i]. Elements that open nothing yield no row. Give each id once: a row carries its id and not
-- which of two hashes opened it.
--
-- A pure SELECT, valid on a replica and inlined into its caller like lookup. Two things keep a prepared
-- statement of it at one plan, which finds each row by its id, for batches of any length on a table of any
-- size:
--   - The arrays pass through a SELECT, where the planner does not look at their lengths. It would find short
--     batches worth a plan of their own at each call, which takes longer than they do.
--   - OFFSET 0 keeps it from joining in any way but row by row. A plan that was made while the table was
--     empty would otherwise be a scan of the whole table, and stay one until the table is analyzed.
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
  'The live sessions that these ids and secret hashes open, in any order.';
$file$;
EXECUTE $file$
-- Slides the expiry of many sessions; returns how many were extended.
--
-- Promises: never shortens, never passes a deadline, never resurrects, writes nothing where more than the
-- idle timeout is left, and never waits for a row, so it cannot deadlock with anything under any plan. A row
-- that another transaction has locked is left out: whoever holds it is a touch, a payload write or a rotate
-- (which slide the expiry themselves) or is deleting it.
--
-- Ids alone, no hashes: the caller has looked these sessions up, and sliding gives nobody access. Commits
-- asynchronously unless durable, as insert does: a crash loses at most the last moments of sliding, which the
-- next touch restores.
CREATE OR REPLACE FUNCTION sessionsql.touch_batch(ids bigint[], durable boolean DEFAULT false)
RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1000
SET search_path = pg_catalog, pg_temp
-- One plan for batches of any length; see lookup_batch.
SET plan_cache_mode = force_generic_plan
AS $function$
DECLARE
  -- Assigned and not performed, as in insert.
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
  'Slides the expiry of the sessions that are due for it; returns how many were extended.';
$file$;
EXECUTE $file$
-- Writes a live session's payload. Returns the new version, which is 1 or more; 0 when expected_version is
-- given and the session has another one by now (a conflict: somebody else wrote); -1 when there is no such
-- live session. One round trip tells the three apart.
--
-- Promises: never resurrects. It never inserts, so a late save after a logout finds no row; and it locks the
-- row before it judges it, so a session that expired while the call waited for the row stays dead. A write is
-- a use, so it slides the expiry as well; the row is rewritten anyway, and a touch that skipped this row
-- while it was locked loses nothing.
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
  -- Assigned and not performed, as in insert.
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
  RETURN locked.version + 1;
END
$function$;

COMMENT ON FUNCTION sessionsql.update_payload(bigint, bytea, text, integer, boolean) IS
  'Writes the payload. Returns the new version, 0 on a conflict, -1 when there is no such live session.';
$file$;
EXECUTE $file$
-- Writes the payloads of many live sessions in one statement, one element of each array a session; returns
-- (id, version) of each that was written. Callers of an application that write at the same moment share one
-- round trip and one commit record.
--
-- A session that is not returned was not written, and update_payload says why: there is no such live session,
-- or it has another version than the one expected (a null element expects none), or another transaction has
-- its row locked and nothing is the matter with it. Give each id once: of two writes to one session, either
-- may be the one that is done.
--
-- Promises: never resurrects; never waits for a row, so it cannot deadlock with anything under any plan.
-- Commits asynchronously unless durable, as insert does.
--
-- No plan may find the rows otherwise than one by one and by id: a plan that was made while the table was
-- empty, or for arrays of another length, would compare each row with every element.
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
-- One plan for batches of any length; see lookup_batch.
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $function$
BEGIN
  -- Refused here, because a NOT NULL violation would print the row. Arrays of different lengths are padded
  -- with nulls.
  IF cardinality(update_payload_batch.payloads) IS DISTINCT FROM cardinality(update_payload_batch.ids)
    OR array_position(update_payload_batch.payloads, NULL) IS NOT NULL
  THEN
    RAISE null_value_not_allowed USING
      MESSAGE = 'sessionsql.update_payload_batch: every id needs a payload, which must not be null';
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
  )
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
  RETURNING s.id, s.version;
END
$function$;

COMMENT ON FUNCTION sessionsql.update_payload_batch(bigint[], bytea[], text[], integer[], boolean) IS
  'Writes many payloads; returns id and new version of each written. Commits asynchronously unless durable.';
$file$;
EXECUTE $file$
-- Gives a live session a new secret, in the same row: at login, at a change of privilege, or every so often.
-- Returns whether it did; false = secret_hash is not the session's current one, or there is no such live
-- session.
--
-- Promises: the old secret opens the session until grace has passed, then never; requests that were under way
-- with it end well. Only the current secret can rotate: of two requests that rotate at once with the same
-- one, one wins, and the other is told so while its session lives on under both secrets until grace has
-- passed. A second rotate within the grace of the first ends the first one's. A subject, when given, becomes
-- the session's: anonymous to logged in. Pass grace => '0' then, or whoever knew the anonymous token is
-- logged in for as long. With max_sessions, a login ends the subject's oldest sessions beyond it, as insert
-- does.
--
-- Never resurrects: it locks the row before it judges it, so a session that expired while the call waited
-- stays dead. Commits synchronously, or a crash would bring the old secret back. A use, so it slides the
-- expiry.
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
  -- Seconds, and nothing but these from here on: '11 mon -330 days' is none by this measure and days by the
  -- calendar.
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
      MESSAGE = format('sessionsql.rotate: subject must be %s bytes at most', sessionsql.max_subject_bytes());
  ELSIF NOT (rotate.max_sessions > 0) OR (rotate.max_sessions IS NOT NULL AND rotate.subject IS NULL) THEN
    RAISE invalid_parameter_value USING
      MESSAGE = 'sessionsql.rotate: max_sessions must be positive, and needs a subject';
  END IF;

  PERFORM sessionsql.commit_synchronously();
  IF rotate.max_sessions IS NOT NULL THEN
    -- Together with this session's own row, and in id order.
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

  -- Without a grace there is no previous secret: one whose time is up would still open the session in a
  -- statement that began before.
  UPDATE sessionsql.session AS s
  SET secret_hash = rotate.new_secret_hash,
      previous_hash = CASE WHEN grace_seconds > 0 THEN s.secret_hash END,
      previous_until = CASE
        WHEN grace_seconds > 0 THEN clock_timestamp() + make_interval(secs => grace_seconds)
      END,
      subject = COALESCE(rotate.subject, s.subject),
      expires_at = GREATEST(s.expires_at, sessionsql.next_expiry(s.idle_seconds, s.deadline))
  WHERE s.id = rotate.id;

  IF excess IS NOT NULL THEN
    PERFORM sessionsql.end_excess(excess);
  END IF;
  RETURN true;
END
$function$;

COMMENT ON FUNCTION sessionsql.rotate(bigint, bytea, bytea, interval, text, integer) IS
  'Gives a session a new secret; the old one is good for grace. True if it did. Commits synchronously.';
$file$;
EXECUTE $file$
-- Logout: deletes the session that this id and secret hash open; returns whether it was alive.
--
-- Promises: once it has returned true in a committed transaction, the session stays dead, also after a crash:
-- the commit waits for the disk even where the connection's default is not to. An expired session goes as
-- well, whoever may be about to keep it alive.
CREATE OR REPLACE FUNCTION sessionsql.revoke(id bigint, secret_hash bytea)
RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  locked record;
BEGIN
  PERFORM sessionsql.commit_synchronously();

  -- Locked before it is judged: the grace of an old secret may end while this waits for the row.
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
  RETURN locked.expires_at > clock_timestamp();
END
$function$;

COMMENT ON FUNCTION sessionsql.revoke(bigint, bytea) IS
  'Ends the session that this id and secret hash open; returns whether it was alive. Commits synchronously.';
$file$;
EXECUTE $file$
-- Ends one other session of the same subject, out of the list that list_subject shows; returns whether it was
-- alive. Whoever asks presents a live session of that subject: an id alone ends nothing (OWASP ASVS 5.0,
-- 7.5.2).
--
-- Promises what revoke does. It locks the listed row before it judges the presented session, so one that was
-- logged out while the call waited ends nothing any more.
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

  RETURN (expiry > clock_timestamp()) IS TRUE;
END
$function$;

COMMENT ON FUNCTION sessionsql.revoke_listed(bigint, bytea, bigint) IS
  'Ends another session of the subject of a live one; returns whether it was alive. Commits synchronously.';
$file$;
EXECUTE $file$
-- Logs a user out everywhere: deletes the sessions of a subject, but for keep_id; returns how many live ones
-- ended.
--
-- Promises: every session of the subject that was committed before the call is dead when its transaction
-- commits, also after a crash. Unlike the other statements over many rows it waits for locked ones instead of
-- leaving them out, or a session that is just being kept alive would survive; it takes them in id order, and
-- what holds them never waits for another row, so it cannot deadlock with any function of this bundle.
--
-- No plan may find the rows otherwise than by an index, and delete them otherwise than by their ids: by their
-- subject, each would be compared with every other.
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

  RETURN revoked;
END
$function$;

COMMENT ON FUNCTION sessionsql.revoke_subject(text, bigint) IS
  'Ends all sessions of a subject, but for keep_id; returns how many were alive. Commits synchronously.';
$file$;
EXECUTE $file$
-- Where a user is logged in: the live sessions of a subject, newest first, without secrets and payload.
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
  'The live sessions of a subject, newest first, without secrets and payload.';
$file$;
EXECUTE $file$
-- Notes the timeline that this server writes on, for its replicas to show. A client calls it when it sees
-- that the note is of another: after a promotion, which raises the number.
CREATE OR REPLACE FUNCTION sessionsql.note_timeline()
RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
BEGIN ATOMIC
  UPDATE sessionsql.timeline AS t
  SET noted = n.timeline
  FROM sessionsql.node AS n
  WHERE t.noted <> n.timeline;
END;

COMMENT ON FUNCTION sessionsql.note_timeline() IS 'Notes the timeline that this server writes on.';
$file$;
EXECUTE $file$
-- Deletes expired rows: a clock hand that walks the table by ranges of pages, so that a call costs the same
-- on a table of any size and needs no index on expires_at. Returns one row; no row = another reaper is at
-- work, and there is nothing to do. Call it again while it finds work; that, and not a higher limit, is how
-- it keeps up with any rate.
--
-- Promises: deletes at most max_rows rows, reads at most max_pages pages of the table in search of them,
-- never waits for a row, never deletes a session that somebody kept alive in the meantime. A row that is
-- locked is left for the next lap.
--
-- Commits asynchronously unless durable, as insert does: a crash brings back rows that are expired all the
-- same.
CREATE OR REPLACE FUNCTION sessionsql.reap(
  max_rows integer DEFAULT 1000,
  max_pages integer DEFAULT 4096,
  durable boolean DEFAULT false
)
RETURNS SETOF sessionsql.last_reap
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 10000 ROWS 1
SET search_path = pg_catalog, pg_temp
-- The bound in pages is a Tid Range Scan's. Without statistics, or with a connection's own settings, the
-- planner may think a scan of the whole table cheaper; here it must not.
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

  -- First, because the lock below counts as a write.
  PERFORM sessionsql.commit_asynchronously(reap.durable);

  SELECT r.next_page INTO first_page
  FROM sessionsql.reaper AS r
  WHERE r.singleton
  FOR NO KEY UPDATE OF r SKIP LOCKED;
  IF NOT FOUND THEN
    RETURN;
  END IF;

  table_pages := pg_relation_size('sessionsql.session'::regclass) / current_setting('block_size')::bigint;
  IF first_page >= table_pages THEN
    first_page := 0;
  END IF;
  end_page := LEAST(first_page + reap.max_pages, table_pages);

  -- Locked in the order of the scan and not of the ids: sorting would have to find every expired row of the
  -- range first, and since nothing here waits, no order can deadlock. The outer DELETE finds its rows by id,
  -- because by ctid it would miss or mistake a row that moved.
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

  -- Stopped by max_rows: go on from the page of the last row, which may hold more.
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
  'Deletes expired sessions from the next range of pages; no row when another reaper is at work.';
$file$;
EXECUTE $file$
-- Reaps until nothing is left, a transaction a call of reap: for cron, which cannot loop. It ends when the
-- hand has come to the end of the table twice, which is once around from wherever it stood; when another
-- reaper is at work; or after max_calls.
--
-- It commits, so it cannot be called within a transaction. A procedure that commits takes no SET clause:
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
  'Calls reap until nothing is left, a transaction a call; for cron.';
$file$;
EXECUTE $file$
-- The row number in a token, 32 characters of base64url over 24 bytes of which the first 8 are the id; null
-- when the token is malformed. Raises nothing; see token_hash.
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

COMMENT ON FUNCTION sessionsql.token_id(text) IS 'The id in a token; null when it is malformed.';
$file$;
EXECUTE $file$
-- SHA-256 of the secret in a token, the last 16 of its 24 bytes; null when the token is malformed. Raises
-- nothing: an error would carry the token into the server's log. Its length is looked at first, because a
-- pattern takes no text of any size.
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
  'SHA-256 of the secret in a token; null when it is malformed.';
$file$;
EXECUTE $file$
-- A secret of 128 bits of the server's strong randomness, which is what gen_random_uuid uses. A UUID has 6
-- fixed bits; hashing two of them leaves none.
CREATE OR REPLACE FUNCTION sessionsql.new_secret()
RETURNS bytea
LANGUAGE sql VOLATILE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 10
BEGIN ATOMIC
  SELECT substr(sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())), 1, 16);
END;

COMMENT ON FUNCTION sessionsql.new_secret() IS 'A random secret of 16 bytes, which is stored nowhere.';
$file$;
EXECUTE $file$
-- The token of an id and its secret: base64url over both, 32 characters without padding. token_id and
-- token_hash take it apart.
CREATE OR REPLACE FUNCTION sessionsql.token_from(id bigint, secret bytea)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 10
BEGIN ATOMIC
  SELECT translate(encode(int8send(token_from.id) || token_from.secret, 'base64'), '+/', '-_');
END;

COMMENT ON FUNCTION sessionsql.token_from(bigint, bytea) IS 'The token of an id and its secret.';
$file$;
EXECUTE $file$
-- insert, for clients that have only SQL: makes the secret here, and returns the whole token; Go's open it
-- too.
--
-- The token is in the result and nowhere else; but a client that sends it back in SQL text
-- (find_session('...')) has it in the server's log wherever statements are logged: send it as a parameter,
-- and keep log_parameter_max_length at 0.
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
  'Inserts a session and returns its token, for clients that have only SQL.';

-- The same for drivers that send a number of seconds. The idle timeout has no default here, because a call
-- without it would fit several functions.
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
  'Inserts a session and returns its token; both timeouts in seconds.';

-- The same for drivers that declare a string as text: '30 minutes', or '1800' for seconds.
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
  'Inserts a session and returns its token; both timeouts as text, an interval or seconds.';
$file$;
EXECUTE $file$
-- lookup, for clients that have only SQL: the live session that a token opens; no row for any other,
-- malformed ones included. Send the token as a parameter and not in the text.
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
  'The live session that a token opens; no row when there is none. For clients that have only SQL.';
$file$;
EXECUTE $file$
-- find_session that keeps the session alive, for clients that have only SQL: a web page calls it once per
-- request. It writes only when touch_batch would extend the expiry: at most once every third of the idle
-- timeout.
--
-- Promises: never waits for a row, because touch_batch leaves out what another transaction has locked. On a
-- replica, and in a transaction that is read only, it finds the session and does not keep it alive. Commits
-- asynchronously unless durable, and only where it writes.
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
  'The live session that a token opens, kept alive; no row when there is none.';
$file$;
EXECUTE $file$
-- update_payload, for clients that have only SQL: writes the payload of the session that a token opens.
-- Returns the new version, 0 on a conflict, -1 when there is no such live session. An expected version that no
-- session can have is a conflict.
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
  'Writes the payload of the session that a token opens. Returns the new version, 0 on a conflict, -1 when '
  'there is no such live session.';
$file$;
EXECUTE $file$
-- rotate, for clients that have only SQL: gives the session that a token opens a new secret, made here, and
-- returns the new token; null when there is no such live session, or when another request was first and the
-- presented token is the previous one. At login, pass the subject, and grace => '0'.
CREATE OR REPLACE FUNCTION sessionsql.renew_session(
  token text,
  subject text DEFAULT NULL,
  grace interval DEFAULT '10 seconds',
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
    grace => renew_session.grace,
    subject => renew_session.subject,
    max_sessions => renew_session.max_sessions::integer
  ) THEN
    RETURN sessionsql.token_from(id, secret);
  END IF;
  RETURN NULL;
END
$function$;

COMMENT ON FUNCTION sessionsql.renew_session(text, text, interval, bigint) IS
  'Gives a session a new token and returns it; null when there is none, or when another request was first. '
  'Commits synchronously.';

-- The same for drivers that send a number of seconds.
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
  'Gives a session a new token and returns it; grace in seconds.';

-- The same for drivers that declare a string as text: '10 seconds', or '10' for seconds.
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
  'Gives a session a new token and returns it; grace as text, an interval or seconds.';
$file$;
EXECUTE $file$
-- revoke, for clients that have only SQL: ends the session that a token opens; returns whether there was one.
CREATE OR REPLACE FUNCTION sessionsql.end_session(token text)
RETURNS boolean
LANGUAGE sql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
BEGIN ATOMIC
  SELECT sessionsql.revoke(sessionsql.token_id(end_session.token), sessionsql.token_hash(end_session.token));
END;

COMMENT ON FUNCTION sessionsql.end_session(text) IS
  'Ends the session that a token opens; returns whether there was one. Commits synchronously.';
$file$;
EXECUTE $file$
-- list_subject, for clients that have only SQL: where the user of a token is logged in, newest first, and
-- which row is the token's own. No row when the token opens nothing, or a session without a subject.
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
  'The live sessions of the subject whose token this is, newest first, without secrets and payload.';
$file$;
EXECUTE $file$
-- revoke_listed, for clients that have only SQL: ends one other session out of the list that list_sessions
-- shows; returns whether it was alive.
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
  'Ends another session of the subject whose token this is; returns whether it was alive. Commits '
  'synchronously.';
$file$;
IF state.before_3 THEN
EXECUTE $file$
-- The signatures that 0.1.0 had and that are not replaced, because their successors take another parameter:
-- with both, a call that names fewer parameters than either is ambiguous. It comes after the functions, which
-- no longer call them.
--
-- A body of 0.1.0 may be under way while this commits. It finds the successors by name, so their new
-- parameters come last and have a default. What a BEGIN ATOMIC body calls it finds by number, so no such
-- function is dropped.
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
-- The version of the installed bundle. This file is the only place where it is written: Go and the packaging
-- read it here, and scripts/generate.sh copies it into begin.sql.
CREATE OR REPLACE FUNCTION sessionsql.version()
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT SECURITY INVOKER COST 1
BEGIN ATOMIC
  SELECT '0.2.0'::text;
END;

COMMENT ON FUNCTION sessionsql.version() IS 'Version of the installed bundle.';
$file$;
EXECUTE $file$
-- Privileges, in one place, each with its reason.

-- PostgreSQL gives EXECUTE on every new function and procedure to PUBLIC. A session store is nobody's who was
-- not given it.
REVOKE EXECUTE ON ALL ROUTINES IN SCHEMA sessionsql FROM PUBLIC;
REVOKE ALL ON SCHEMA sessionsql FROM PUBLIC;
$file$;
IF state.roles THEN
EXECUTE $file$
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
$file$;
END IF;
IF state.before_4 THEN
EXECUTE $file$
-- Clients compare a replica's note of the timeline with the primary's own: see tables/timeline.sql and
-- views/node.sql. It comes after roles.sql: an owner that the views have from there must own the table too.
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
-- Calls of 0.1.0 need these functions until they end: a list_subject has found its own by number, and the
-- bodies of insert and insert_batch find is_insertable by name. Go's Install commits the other migrations a
-- while earlier, so that those calls have ended.
DROP FUNCTION IF EXISTS
  sessionsql.list_subject_before(text),
  sessionsql.is_insertable(bytea, text, double precision, double precision, text, integer);

INSERT INTO sessionsql.migration (id, name) VALUES (5, 'leftovers');
$file$;
END IF;
END IF;
EXECUTE $file$
-- The last file of an installation: whatever follows in the same transaction finds the settings that it had.
-- Only those that begin.sql changed are set, because some take a privilege.
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
