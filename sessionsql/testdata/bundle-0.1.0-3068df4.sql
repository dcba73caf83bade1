-- Installs the bundle, or brings an installed one up to this version:
--
--     psql -1 -v ON_ERROR_STOP=1 -f sql/install.sql
--
-- This manifest is the only place where order is written: one \ir line a file, and every line starts in column one.
-- Go's Install and the packaging scripts read the same lines. Run it as often as you like: it never touches a session.

-- Two installs at once wait for each other instead of failing on a catalog conflict (the number is arbitrary, and fixed),
-- and no name in the bundle is looked up in a schema of the installing role.
DO $install$
BEGIN
  PERFORM pg_catalog.pg_advisory_xact_lock(7309453286151577203);
  PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
END
$install$;

-- Without -1 that setting is forgotten by now, and is made once more for the connection.
DO $install$
BEGIN
  IF pg_catalog.current_setting('search_path') OPERATOR(pg_catalog.<>) 'pg_catalog, pg_temp' THEN
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', false);
  END IF;
END
$install$;

CREATE SCHEMA IF NOT EXISTS sessionsql;

-- Names for the parameters that cross from a client as text. The functions take plain arrays and text; only the queries in
-- sql/queries cast to these domains, because the name tells sqlc which Go type to generate (FACTS of the design: a bare
-- bigint[] parameter would link a second driver into every user's program).
DO $types$
BEGIN
  IF pg_catalog.to_regtype('sessionsql.id_list') IS NULL THEN
    CREATE DOMAIN sessionsql.id_list AS bigint[];
    CREATE DOMAIN sessionsql.hash_list AS bytea[];
    CREATE DOMAIN sessionsql.payload AS text;
    CREATE DOMAIN sessionsql.payload_list AS text[];
    CREATE DOMAIN sessionsql.seconds_list AS double precision[];
    CREATE DOMAIN sessionsql.subject_list AS text[];
  END IF;
  IF pg_catalog.to_regtype('sessionsql.version_list') IS NULL THEN
    CREATE DOMAIN sessionsql.version_list AS integer[];
  END IF;
END
$types$;

-- One row a session. Rows are what a write costs: no column without a rule that needs it, and no index that a keepalive
-- would have to maintain.
--
-- There is no CHECK and no UNIQUE here, and the functions refuse NULL before the table would: a violation prints the
-- whole row, payload and hash included, to the client and to the server log, whatever the log settings are.
CREATE TABLE IF NOT EXISTS sessionsql.session (
  -- A number to find the row by, handed out in blocks of 100 so that concurrent inserts do not queue for the sequence.
  -- Never a credential: after a crash ids are handed out again. Always growing, so the index is appended to.
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
  -- text, also for JSON: nobody asks the server what is inside, and jsonb costs a parse on every write and every read.
  payload text NOT NULL
) WITH (
  -- Room on each page for the next version of its rows: at 70, 100.0 % of keepalive updates are HOT and the table does not
  -- grow; at 80 99.4 % and 1 %, at 90 94.0 % and 10 %, at 100 86.6 % and 27 %. Below 70 nothing more is gained.
  fillfactor = 70,
  -- Vacuum at 1 % dead rows instead of 20 %: a fifth of a session table dies within minutes. The 2000 keep a small table
  -- from being vacuumed at every wake-up of the launcher.
  autovacuum_vacuum_threshold = 2000,
  autovacuum_vacuum_scale_factor = 0.01,
  -- The server's default since 12, said aloud so that a cluster tuned for slow disks does not starve this table.
  autovacuum_vacuum_cost_delay = 2,
  -- Giving pages at the end back to the disk needs an ACCESS EXCLUSIVE lock, which is replayed on replicas and cancels
  -- lookups there. Sessions fill those pages again within minutes.
  vacuum_truncate = off,
  -- Payloads over 2 kB live in the TOAST table and die at the same rate.
  toast.autovacuum_vacuum_threshold = 2000,
  toast.autovacuum_vacuum_scale_factor = 0.01,
  toast.autovacuum_vacuum_cost_delay = 2,
  toast.vacuum_truncate = off
);

COMMENT ON TABLE sessionsql.session IS
  'One row a session. Read it through sessionsql.lookup and sessionsql.live_session, which know what is expired.';
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

-- Payloads over 2 kB are compressed: with lz4 instead of pglz where the server was built with it, as those of the usual distributions are.
-- Inserts of JSON of 8 kB then take 0.7 of the CPU time and of 64 kB 0.5, for 2 % more disk at most; lookups cost the same.
-- Once only, because it locks out everybody for a moment, and never over an operator's own choice.
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
CREATE INDEX IF NOT EXISTS session_subject ON sessionsql.session (subject) WHERE subject IS NOT NULL;

-- Where the reaper's clock hand stands, and what its last call and last lap did. One row: its lock is also what makes one
-- reaper at a time, on every kind of connection pooler.
CREATE TABLE IF NOT EXISTS sessionsql.reaper (
  singleton boolean PRIMARY KEY DEFAULT true,
  next_page bigint NOT NULL DEFAULT 0,
  reaped bigint NOT NULL DEFAULT 0,
  pages bigint NOT NULL DEFAULT 0,
  lap_done boolean NOT NULL DEFAULT false,
  oldest_expired timestamptz,
  last_lap_oldest_expired timestamptz,
  last_lap_ended_at timestamptz
) WITH (
  -- Rewritten at every call: nearly all of the page stays free, so that each rewrite is HOT and pruned in place.
  fillfactor = 10,
  -- Fewer dead rows than the server's default of 50 would have to wait for; the page never needs a second one.
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
COMMENT ON COLUMN sessionsql.reaper.oldest_expired IS 'Earliest expires_at met in the lap under way; null when none was expired.';
COMMENT ON COLUMN sessionsql.reaper.last_lap_oldest_expired IS 'Earliest expires_at met in the last whole lap; null when none was expired.';
COMMENT ON COLUMN sessionsql.reaper.last_lap_ended_at IS 'When the last whole lap ended.';

INSERT INTO sessionsql.reaper (singleton) VALUES (true) ON CONFLICT (singleton) DO NOTHING;

-- The version of the installed bundle. This file is the only place where it is written; Go and the packaging read it here.
CREATE OR REPLACE FUNCTION sessionsql.version()
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT SECURITY INVOKER COST 1
BEGIN ATOMIC
  SELECT '0.1.0'::text;
END;

COMMENT ON FUNCTION sessionsql.version() IS 'Version of the installed bundle.';

-- Sliding expiration, written once: with idle timeout T and slack T/3, a use moves expiry to now + T + T/3, never past the
-- deadline. The slack is what lets touch_batch leave a row alone until less than T is left, so that a busy session is
-- rewritten once every T/3 and not at every request.
--
-- statement_timestamp() and not now(): in a long transaction now() is the past, and a session would be born half expired.
-- Not STRICT, no SET clause: either would keep the planner from inlining it.
CREATE OR REPLACE FUNCTION sessionsql.next_expiry(idle_seconds double precision, deadline timestamptz)
RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1
BEGIN ATOMIC
  SELECT LEAST(statement_timestamp() + make_interval(secs => next_expiry.idle_seconds * 4 / 3), next_expiry.deadline);
END;

COMMENT ON FUNCTION sessionsql.next_expiry(double precision, timestamptz) IS
  'When a session that is used now expires: idle timeout plus a third, never past the deadline.';

-- Which sessions a touch writes, said once for the two places in touch_batch that must agree: alive, less than the idle
-- timeout left, and not yet at the deadline, where there is nothing to give. No SET clause and not STRICT: inlined.
CREATE OR REPLACE FUNCTION sessionsql.is_due(expires_at timestamptz, idle_seconds double precision, deadline timestamptz)
RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1
BEGIN ATOMIC
  SELECT is_due.expires_at > statement_timestamp()
    AND is_due.expires_at < is_due.deadline
    AND is_due.expires_at < statement_timestamp() + make_interval(secs => is_due.idle_seconds);
END;

COMMENT ON FUNCTION sessionsql.is_due(timestamptz, double precision, timestamptz) IS
  'Whether a touch has something to give: alive, less than the idle timeout left, deadline not reached.';

-- Whether a presented hash opens a row: it is the current one, or the one before it while the grace after a rotate lasts.
-- Comparing hashes needs no constant time: to learn one byte of a stored hash, an attacker would have to choose the bytes
-- of a SHA-256 digest. No SET clause and not STRICT: inlined.
CREATE OR REPLACE FUNCTION sessionsql.opens(
  presented_hash bytea,
  secret_hash bytea,
  previous_hash bytea,
  previous_until timestamptz
)
RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1
BEGIN ATOMIC
  SELECT opens.presented_hash = opens.secret_hash
    OR (opens.presented_hash = opens.previous_hash AND opens.previous_until > statement_timestamp());
END;

COMMENT ON FUNCTION sessionsql.opens(bytea, bytea, bytea, timestamptz) IS
  'Whether a presented hash is the session''s current one, or its previous one within the grace after a rotate.';

-- The sessions that are alive, as a reader may see them: no hash, no timestamps that a client could compare with a clock of
-- its own. What is left is in seconds by the server's clock.
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

-- The row type of what insert_batch returns: the hash tells the caller which of its sessions got which id.
CREATE OR REPLACE VIEW sessionsql.new_session_id AS
SELECT
  s.id,
  s.secret_hash
FROM sessionsql.session AS s;

COMMENT ON VIEW sessionsql.new_session_id IS 'A new session: its id, beside the hash that it was inserted with.';
COMMENT ON COLUMN sessionsql.new_session_id.id IS 'Row number; never a credential.';
COMMENT ON COLUMN sessionsql.new_session_id.secret_hash IS 'SHA-256 of the token''s secret, as given.';

-- The row type of what update_payload_batch returns.
CREATE OR REPLACE VIEW sessionsql.payload_version AS
SELECT
  s.id,
  s.version
FROM sessionsql.session AS s;

COMMENT ON VIEW sessionsql.payload_version IS 'A session whose payload was written: its id, and the version that it has now.';
COMMENT ON COLUMN sessionsql.payload_version.id IS 'Row number; never a credential.';
COMMENT ON COLUMN sessionsql.payload_version.version IS 'Counts payload writes, from 1.';

-- A session as its owner may see it in a list of places where they are logged in: no secret and no payload.
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

-- What a client has to know of the server it talks to: primary or replica, and how far its WAL has come. A write that was
-- acknowledged before the primary's position P was read is visible on every replica whose position is P or more. The
-- primary's is the insert position, because an asynchronous commit is acknowledged before it is flushed.
CREATE OR REPLACE VIEW sessionsql.node AS
SELECT
  pg_is_in_recovery() AS in_recovery,
  (
    CASE WHEN pg_is_in_recovery()
      THEN COALESCE(pg_last_wal_replay_lsn(), '0/0'::pg_lsn)
      ELSE pg_current_wal_insert_lsn()
    END - '0/0'::pg_lsn
  )::bigint AS wal_position;

COMMENT ON VIEW sessionsql.node IS 'The server that answers: its role, and its position in the WAL.';
COMMENT ON COLUMN sessionsql.node.in_recovery IS 'True on a replica.';
COMMENT ON COLUMN sessionsql.node.wal_position IS 'Bytes of WAL written (primary) or replayed (replica).';

-- One row for the engineer at 3 a.m. and for a dashboard: cheap, no count(*), nothing that locks. Run it on the primary;
-- another role's transactions are only seen by members of pg_read_all_stats.
CREATE OR REPLACE VIEW sessionsql.health AS
SELECT
  GREATEST(c.reltuples, 0)::bigint AS estimated_rows,
  pg_catalog.pg_table_size(c.oid)::bigint AS heap_bytes,
  pg_catalog.pg_indexes_size(c.oid)::bigint AS index_bytes,
  pg_catalog.pg_stat_get_dead_tuples(c.oid)::bigint AS dead_tuples,
  COALESCE(
    pg_catalog.pg_stat_get_tuples_hot_updated(c.oid)::double precision / NULLIF(pg_catalog.pg_stat_get_tuples_updated(c.oid), 0),
    1
  )::double precision AS hot_ratio,
  pg_catalog.pg_stat_get_last_autovacuum_time(c.oid) AS last_autovacuum,
  COALESCE(
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
  )::bigint AS oldest_xmin_age,
  r.last_lap_oldest_expired AS oldest_expired,
  r.last_lap_ended_at AS last_lap_ended_at,
  age(c.relfrozenxid)::bigint AS wraparound_age
FROM pg_catalog.pg_class AS c
CROSS JOIN sessionsql.reaper AS r
WHERE c.oid = 'sessionsql.session'::regclass;

COMMENT ON VIEW sessionsql.health IS 'The state of the session table in one cheap row.';
COMMENT ON COLUMN sessionsql.health.estimated_rows IS 'Rows by the last vacuum or analyze, expired ones included.';
COMMENT ON COLUMN sessionsql.health.heap_bytes IS 'Bytes of the table with its TOAST table.';
COMMENT ON COLUMN sessionsql.health.index_bytes IS 'Bytes of its indexes.';
COMMENT ON COLUMN sessionsql.health.dead_tuples IS 'Row versions that vacuum has yet to remove.';
COMMENT ON COLUMN sessionsql.health.hot_ratio IS 'Share of updates that touched no index, 0 to 1; watch below 0.99.';
COMMENT ON COLUMN sessionsql.health.last_autovacuum IS 'When autovacuum last finished here; null when never.';
COMMENT ON COLUMN sessionsql.health.oldest_xmin_age IS
  'Transactions since the oldest snapshot that holds vacuum back anywhere on the server.';
COMMENT ON COLUMN sessionsql.health.oldest_expired IS
  'Earliest expires_at that the reaper met in its last whole lap; null when none was expired.';
COMMENT ON COLUMN sessionsql.health.last_lap_ended_at IS 'When the reaper last ended a lap; null when never.';
COMMENT ON COLUMN sessionsql.health.wraparound_age IS 'Transactions since the table was last frozen.';

-- The absolute timeout of a session that begins now; infinity when there is none. Inlined; see is_insertable.
CREATE OR REPLACE FUNCTION sessionsql.deadline_after(lifetime_seconds double precision)
RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1
BEGIN ATOMIC
  SELECT COALESCE(
    statement_timestamp() + make_interval(secs => deadline_after.lifetime_seconds),
    'infinity'::timestamptz
  );
END;

COMMENT ON FUNCTION sessionsql.deadline_after(double precision) IS
  'When a session that begins now reaches its lifetime; infinity for null.';

-- Whether insert may go on without asking check_insert what is wrong: the test that every good call passes. An expression
-- and not statements, so that it is inlined; BEGIN ATOMIC binds its operators, so that insert needs no SET search_path, whose
-- price at each call is measurable.
CREATE OR REPLACE FUNCTION sessionsql.is_insertable(
  secret_hash bytea,
  payload text,
  idle_seconds double precision,
  lifetime_seconds double precision,
  subject text,
  max_sessions integer
)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1
BEGIN ATOMIC
  SELECT (
    octet_length(is_insertable.secret_hash) = 32
    AND is_insertable.payload IS NOT NULL
    AND is_insertable.idle_seconds > 0 AND is_insertable.idle_seconds <= 3155760000
    AND COALESCE(is_insertable.lifetime_seconds > 0 AND is_insertable.lifetime_seconds <= 3155760000, true)
    AND COALESCE(octet_length(is_insertable.subject) <= 1024, true)
    AND is_insertable.max_sessions IS NULL
  ) IS TRUE;
END;

COMMENT ON FUNCTION sessionsql.is_insertable(bytea, text, double precision, double precision, text, integer) IS
  'Whether a session without a cap can be inserted with these values; check_insert says why not.';

-- Bad input to insert and insert_batch, refused by name before it reaches the table, whose own errors would print the row
-- with its payload. Returns nothing; raises without any value in the message.
CREATE OR REPLACE FUNCTION sessionsql.check_insert(
  secret_hash bytea,
  payload text,
  idle_seconds double precision,
  lifetime_seconds double precision,
  subject text,
  max_sessions integer DEFAULT NULL
)
RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 10
SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
  IF (octet_length(check_insert.secret_hash) = 32) IS NOT TRUE THEN
    RAISE invalid_parameter_value USING MESSAGE = 'sessionsql.insert: secret_hash must be a SHA-256 hash of 32 bytes';
  ELSIF check_insert.payload IS NULL THEN
    RAISE null_value_not_allowed USING MESSAGE = 'sessionsql.insert: payload must not be null';
  ELSIF (check_insert.idle_seconds > 0 AND check_insert.idle_seconds <= 3155760000) IS NOT TRUE THEN
    RAISE invalid_parameter_value USING MESSAGE = 'sessionsql.insert: idle timeout must be positive, 100 years at most';
  ELSIF NOT (check_insert.lifetime_seconds > 0 AND check_insert.lifetime_seconds <= 3155760000) THEN
    RAISE invalid_parameter_value
      USING MESSAGE = 'sessionsql.insert: lifetime must be positive, 100 years at most, or null for none';
  ELSIF octet_length(check_insert.subject) > 1024 THEN
    -- An index entry has to fit a third of a page.
    RAISE invalid_parameter_value USING MESSAGE = 'sessionsql.insert: subject must be 1024 bytes at most';
  ELSIF NOT (check_insert.max_sessions > 0) THEN
    RAISE invalid_parameter_value USING MESSAGE = 'sessionsql.insert: max_sessions must be positive, or null for no cap';
  ELSIF check_insert.max_sessions IS NOT NULL AND check_insert.subject IS NULL THEN
    RAISE invalid_parameter_value USING MESSAGE = 'sessionsql.insert: max_sessions caps the sessions of a subject: give one';
  END IF;
END
$function$;

COMMENT ON FUNCTION sessionsql.check_insert(bytea, text, double precision, double precision, text, integer) IS
  'Raises when a session could not be inserted with these values, without repeating them.';

-- The cap behind insert's max_sessions: ends the oldest live sessions of a subject beyond the newest max_sessions; returns
-- how many. insert holds the subject's advisory lock, so that logins at the same moment count each other.
--
-- An eviction is a logout, so it makes the transaction commit synchronously; when there is none, nothing waits.
CREATE OR REPLACE FUNCTION sessionsql.evict_subject(subject text, max_sessions integer)
RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1000
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  evicted bigint;
BEGIN
  WITH excess AS MATERIALIZED (
    SELECT s.id
    FROM sessionsql.session AS s
    WHERE s.subject = evict_subject.subject
      AND s.expires_at > statement_timestamp()
    ORDER BY s.created_at DESC, s.id DESC
    OFFSET evict_subject.max_sessions
  ), locked AS MATERIALIZED (
    SELECT s.id
    FROM sessionsql.session AS s
    JOIN excess AS e ON e.id = s.id
    ORDER BY s.id
    FOR UPDATE OF s
  )
  DELETE FROM sessionsql.session AS s
  USING locked AS l
  WHERE s.id = l.id
    AND s.subject = evict_subject.subject;

  GET DIAGNOSTICS evicted = ROW_COUNT;
  IF evicted > 0 AND current_setting('synchronous_commit') = 'off' THEN
    PERFORM set_config('synchronous_commit', 'on', true);
  END IF;
  RETURN evicted;
END
$function$;

COMMENT ON FUNCTION sessionsql.evict_subject(text, integer) IS
  'Ends the oldest live sessions of a subject beyond max_sessions; returns how many. Called by insert.';

-- One new session; returns its id. The client made the secret and sends only SHA-256 of it, so nothing that this server
-- stores, logs or replicates opens a session.
--
-- Promises: a durable => true insert leaves the caller's transaction as durable as it was; otherwise the commit does not
-- wait for the disk, and a crash within three wal_writer_delay may lose the session, whole and never half. That setting is
-- local to the transaction, so call it with durable => true inside a transaction that does other work too.
--
-- With max_sessions, a subject has at most so many live sessions: the oldest are ended by the newest, in the same statement.
--
-- Bad input is refused by name before it reaches the table, whose own NOT NULL errors would print the row.
-- PL/pgSQL, because its plans are cached: a SQL function that cannot be inlined is planned at each call before 18.
CREATE OR REPLACE FUNCTION sessionsql.insert(
  secret_hash bytea,
  payload text,
  idle_timeout interval DEFAULT '30 minutes',
  lifetime interval DEFAULT NULL,
  subject text DEFAULT NULL,
  durable boolean DEFAULT false,
  max_sessions integer DEFAULT NULL
)
RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
-- No SET search_path, which would cost some 5 % of a call: there is no operator below, every function is qualified, every
-- type is a keyword or qualified, and what has operators is a BEGIN ATOMIC function that is inlined.
AS $function$
DECLARE
  idle_seconds CONSTANT double precision := pg_catalog.date_part('epoch', insert.idle_timeout);
  lifetime_seconds CONSTANT double precision := pg_catalog.date_part('epoch', insert.lifetime);
  asynchronous pg_catalog.text;
  new_id bigint;
BEGIN
  IF NOT sessionsql.is_insertable(
    insert.secret_hash, insert.payload, idle_seconds, lifetime_seconds, insert.subject, insert.max_sessions
  ) THEN
    PERFORM sessionsql.check_insert(
      insert.secret_hash, insert.payload, idle_seconds, lifetime_seconds, insert.subject, insert.max_sessions
    );
  END IF;

  IF insert.durable IS NOT TRUE THEN
    -- Assigned and not performed, because PL/pgSQL computes a bare expression without starting the executor: 3 % of a call.
    asynchronous := pg_catalog.set_config('synchronous_commit', 'off', true);
  END IF;

  IF insert.max_sessions IS NOT NULL THEN
    -- Two logins of one subject at once would not see each other, and both stay.
    PERFORM pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended(insert.subject, 7309453286151577203));
  END IF;

  INSERT INTO sessionsql.session AS s (
    expires_at, deadline, created_at, idle_seconds, version, secret_hash, subject, payload
  )
  VALUES (
    sessionsql.next_expiry(idle_seconds, sessionsql.deadline_after(lifetime_seconds)),
    sessionsql.deadline_after(lifetime_seconds),
    pg_catalog.statement_timestamp(),
    idle_seconds,
    1,
    insert.secret_hash,
    insert.subject,
    insert.payload
  )
  RETURNING s.id INTO new_id;

  IF insert.max_sessions IS NOT NULL THEN
    PERFORM sessionsql.evict_subject(insert.subject, insert.max_sessions);
  END IF;

  RETURN new_id;
END
$function$;

COMMENT ON FUNCTION sessionsql.insert(bytea, text, interval, interval, text, boolean, integer) IS
  'Inserts a session and returns its id. Commits asynchronously unless durable.';

-- Many new sessions in one statement, one element of each array a session; returns (id, secret_hash) of each. Callers of
-- an application that insert at the same moment share one round trip and one commit record.
--
-- A null element of lifetime_seconds or subjects means none. All or nothing: one bad element fails the statement, and
-- nothing of it is kept.
CREATE OR REPLACE FUNCTION sessionsql.insert_batch(
  secret_hashes bytea[],
  payloads text[],
  idle_seconds double precision[],
  lifetime_seconds double precision[],
  subjects text[],
  durable boolean DEFAULT false
)
RETURNS SETOF sessionsql.new_session_id
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1000 ROWS 64
SET search_path = pg_catalog, pg_temp
-- One plan for batches of any length; see lookup_batch.
SET plan_cache_mode = force_generic_plan
AS $function$
BEGIN
  IF insert_batch.durable IS NOT TRUE THEN
    PERFORM set_config('synchronous_commit', 'off', true);
  END IF;

  -- Arrays of different lengths are padded with nulls by unnest, and a null is refused like any other bad element.
  PERFORM sessionsql.check_insert(n.secret_hash, n.payload, n.idle, n.lifetime, n.subject)
  FROM unnest(
    insert_batch.secret_hashes,
    insert_batch.payloads,
    insert_batch.idle_seconds,
    insert_batch.lifetime_seconds,
    insert_batch.subjects
  ) AS n (secret_hash, payload, idle, lifetime, subject)
  WHERE NOT sessionsql.is_insertable(n.secret_hash, n.payload, n.idle, n.lifetime, n.subject, NULL);

  RETURN QUERY
  INSERT INTO sessionsql.session AS s (
    expires_at, deadline, created_at, idle_seconds, version, secret_hash, subject, payload
  )
  SELECT
    sessionsql.next_expiry(n.idle, sessionsql.deadline_after(n.lifetime)),
    sessionsql.deadline_after(n.lifetime),
    statement_timestamp(),
    n.idle,
    1,
    n.secret_hash,
    n.subject,
    n.payload
  FROM unnest(
    insert_batch.secret_hashes,
    insert_batch.payloads,
    insert_batch.idle_seconds,
    insert_batch.lifetime_seconds,
    insert_batch.subjects
  ) AS n (secret_hash, payload, idle, lifetime, subject)
  RETURNING s.id, s.secret_hash;
END
$function$;

COMMENT ON FUNCTION sessionsql.insert_batch(bytea[], text[], double precision[], double precision[], text[], boolean) IS
  'Inserts many sessions; returns the id and hash of each. Commits asynchronously unless durable.';

-- What lookup and lookup_batch return, said once: the live session that an id and a secret's hash open, for both to inline.
-- They are what is granted; this stays without SECURITY DEFINER also where roles.sql gives it to them.
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

-- The live session that this id and secret hash open; no row = no such live session, whatever the reason.
--
-- A pure SELECT: valid on a replica. No SECURITY DEFINER, no SET clause and not STRICT, so that the planner inlines it and
-- a call costs what the bare query costs; BEGIN ATOMIC binds every name when the function is created, which makes it safe
-- from search_path without a SET clause.
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

-- The live sessions that these ids and secret hashes open, element by element: ids[i] goes with secret_hashes[i]. Elements
-- that open nothing yield no row. Give each id once: a row carries its id and not which of two hashes opened it.
--
-- A pure SELECT, valid on a replica and inlined into its caller like lookup. Two things keep a prepared statement of it at
-- one plan, which finds each row by its id, for batches of any length on a table of any size:
--   - The arrays pass through a SELECT, where the planner does not look at their lengths. It would find short batches worth
--     a plan of their own at each call, which takes longer than they do.
--   - OFFSET 0 keeps it from joining in any way but row by row. A plan that was made while the table was empty would
--     otherwise be a scan of the whole table, and stay one until the table is analyzed.
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

-- Slides the expiry of many sessions; returns how many were extended.
--
-- Promises: never shortens, never passes a deadline, never resurrects, writes nothing where more than the idle timeout is
-- left, and never waits for a row, so it cannot deadlock with anything under any plan. A row that another transaction has
-- locked is left out: whoever holds it is a touch, a payload write or a rotate (which slide the expiry themselves) or is
-- deleting it.
--
-- Ids alone, no hashes: the caller has looked these sessions up, and sliding gives nobody access.
-- Commits asynchronously: a crash loses at most the last moments of sliding, which the next touch restores.
CREATE OR REPLACE FUNCTION sessionsql.touch_batch(ids bigint[])
RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1000
SET search_path = pg_catalog, pg_temp
-- One plan for batches of any length; see lookup_batch.
SET plan_cache_mode = force_generic_plan
AS $function$
DECLARE
  touched bigint;
BEGIN
  PERFORM set_config('synchronous_commit', 'off', true);

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

COMMENT ON FUNCTION sessionsql.touch_batch(bigint[]) IS
  'Slides the expiry of the sessions that are due for it; returns how many were extended.';

-- Writes a live session's payload. Returns the new version, which is 1 or more; 0 when expected_version is given and the
-- session has another one by now (a conflict: somebody else wrote); -1 when there is no such live session. One round trip
-- tells the three apart.
--
-- Promises: never resurrects, because it never inserts: a late save after a logout finds no row. A write is a use, so it
-- slides the expiry as well; the row is rewritten anyway, and a touch that skipped this row while it was locked loses
-- nothing.
--
-- Commits asynchronously unless durable; the setting is local to the transaction, as for insert.
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
  new_version integer;
BEGIN
  IF update_payload.payload IS NULL THEN
    RAISE null_value_not_allowed USING MESSAGE = 'sessionsql.update_payload: payload must not be null';
  END IF;

  IF update_payload.durable IS NOT TRUE THEN
    PERFORM set_config('synchronous_commit', 'off', true);
  END IF;

  UPDATE sessionsql.session AS s
  SET payload = update_payload.payload,
      version = s.version + 1,
      expires_at = GREATEST(s.expires_at, sessionsql.next_expiry(s.idle_seconds, s.deadline))
  WHERE s.id = update_payload.id
    AND sessionsql.opens(update_payload.secret_hash, s.secret_hash, s.previous_hash, s.previous_until)
    AND s.expires_at > statement_timestamp()
    AND (update_payload.expected_version IS NULL OR s.version = update_payload.expected_version)
  RETURNING s.version INTO new_version;

  IF new_version IS NOT NULL THEN
    RETURN new_version;
  END IF;

  PERFORM 1 FROM sessionsql.lookup(update_payload.id, update_payload.secret_hash);
  RETURN CASE WHEN FOUND THEN 0 ELSE -1 END;
END
$function$;

COMMENT ON FUNCTION sessionsql.update_payload(bigint, bytea, text, integer, boolean) IS
  'Writes the payload. Returns the new version, 0 on a version conflict, -1 when there is no such live session.';

-- Writes the payloads of many live sessions in one statement, one element of each array a session; returns (id, version) of
-- each that was written. Callers of an application that write at the same moment share one round trip and one commit record.
--
-- A session that is not returned was not written, and update_payload says why: there is no such live session, or it has
-- another version than the one expected (a null element expects none), or another transaction has its row locked and nothing
-- is the matter with it. Give each id once: of two writes to one session, either may be the one that is done.
--
-- Promises: never resurrects; never waits for a row, so it cannot deadlock with anything under any plan.
-- Commits asynchronously unless durable; the setting is local to the transaction, as for insert.
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
AS $function$
BEGIN
  -- Refused here, because a NOT NULL violation would print the row. Arrays of different lengths are padded with nulls.
  IF cardinality(update_payload_batch.payloads) IS DISTINCT FROM cardinality(update_payload_batch.ids)
    OR array_position(update_payload_batch.payloads, NULL) IS NOT NULL
  THEN
    RAISE null_value_not_allowed USING
      MESSAGE = 'sessionsql.update_payload_batch: every id needs a payload, which must not be null';
  END IF;

  IF update_payload_batch.durable IS NOT TRUE THEN
    PERFORM set_config('synchronous_commit', 'off', true);
  END IF;

  -- id = ANY is what finds the rows by id, whatever the table looked like when the plan was made.
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
    WHERE s.id = ANY (update_payload_batch.ids)
      AND sessionsql.opens(w.secret_hash, s.secret_hash, s.previous_hash, s.previous_until)
      AND s.expires_at > statement_timestamp()
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
    AND s.id = ANY (update_payload_batch.ids)
    AND sessionsql.opens(m.secret_hash, s.secret_hash, s.previous_hash, s.previous_until)
    AND s.expires_at > statement_timestamp()
    AND (m.expected_version IS NULL OR s.version = m.expected_version)
  RETURNING s.id, s.version;
END
$function$;

COMMENT ON FUNCTION sessionsql.update_payload_batch(bigint[], bytea[], text[], integer[], boolean) IS
  'Writes many payloads; returns the id and new version of each that was written. Commits asynchronously unless durable.';

-- Gives a live session a new secret, in the same row: at login, at a change of privilege, or every so often. Returns whether
-- it did; false = secret_hash is not the session's current one, or there is no such live session.
--
-- Promises: the old secret opens the session until grace has passed, then never; requests that were under way with it end
-- well. Only the current secret can rotate: of two requests that rotate at once with the same one, one wins, and the other
-- is told so while its session lives on under both secrets until grace has passed. A second rotate within the grace of the
-- first ends the first one's. A subject, when given, becomes the session's: anonymous to logged in. Pass grace => '0' then,
-- or whoever knew the anonymous token is logged in for as long.
--
-- Commits synchronously, or a crash would bring the old secret back. A use, so it slides the expiry.
CREATE OR REPLACE FUNCTION sessionsql.rotate(
  id bigint,
  secret_hash bytea,
  new_secret_hash bytea,
  grace interval DEFAULT '10 seconds',
  subject text DEFAULT NULL
)
RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
  IF (octet_length(rotate.new_secret_hash) = 32) IS NOT TRUE THEN
    RAISE invalid_parameter_value USING MESSAGE = 'sessionsql.rotate: new_secret_hash must be a SHA-256 hash of 32 bytes';
  ELSIF (date_part('epoch', rotate.grace) BETWEEN 0 AND 3600) IS NOT TRUE THEN
    RAISE invalid_parameter_value USING MESSAGE = 'sessionsql.rotate: grace must be between 0 and 1 hour';
  ELSIF octet_length(rotate.subject) > 1024 THEN
    RAISE invalid_parameter_value USING MESSAGE = 'sessionsql.rotate: subject must be 1024 bytes at most';
  END IF;

  IF current_setting('synchronous_commit') = 'off' THEN
    PERFORM set_config('synchronous_commit', 'on', true);
  END IF;

  UPDATE sessionsql.session AS s
  SET secret_hash = rotate.new_secret_hash,
      previous_hash = s.secret_hash,
      previous_until = statement_timestamp() + rotate.grace,
      subject = COALESCE(rotate.subject, s.subject),
      expires_at = GREATEST(s.expires_at, sessionsql.next_expiry(s.idle_seconds, s.deadline))
  WHERE s.id = rotate.id
    AND s.secret_hash = rotate.secret_hash
    AND s.expires_at > statement_timestamp();

  RETURN FOUND;
END
$function$;

COMMENT ON FUNCTION sessionsql.rotate(bigint, bytea, bytea, interval, text) IS
  'Gives a session a new secret, the old one being good for grace; returns whether it did. Commits synchronously.';

-- Logout: deletes the live session that this id and secret hash open; returns whether there was one.
--
-- Promises: once it has returned true in a committed transaction, the session stays dead, also after a crash: the commit
-- waits for the disk even where the connection's default is not to. A setting stronger than the default is left alone.
CREATE OR REPLACE FUNCTION sessionsql.revoke(id bigint, secret_hash bytea)
RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
  IF current_setting('synchronous_commit') = 'off' THEN
    PERFORM set_config('synchronous_commit', 'on', true);
  END IF;

  DELETE FROM sessionsql.session AS s
  WHERE s.id = revoke.id
    AND sessionsql.opens(revoke.secret_hash, s.secret_hash, s.previous_hash, s.previous_until)
    AND s.expires_at > statement_timestamp();

  RETURN FOUND;
END
$function$;

COMMENT ON FUNCTION sessionsql.revoke(bigint, bytea) IS
  'Ends the session that this id and secret hash open; returns whether there was one. Commits synchronously.';

-- Logs a user out everywhere: deletes the sessions of a subject, but for keep_id; returns how many live ones ended.
--
-- Promises: every session of the subject that was committed before the call is dead when its transaction commits, also
-- after a crash. Unlike the other statements over many rows it waits for locked ones instead of leaving them out, or a
-- session that is just being kept alive would survive; it takes them in id order, and what holds them never waits for
-- another row, so it cannot deadlock with any function of this bundle.
CREATE OR REPLACE FUNCTION sessionsql.revoke_subject(subject text, keep_id bigint DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1000
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  revoked bigint;
BEGIN
  IF current_setting('synchronous_commit') = 'off' THEN
    PERFORM set_config('synchronous_commit', 'on', true);
  END IF;

  WITH owned AS MATERIALIZED (
    SELECT s.id
    FROM sessionsql.session AS s
    WHERE s.subject = revoke_subject.subject
      AND s.id IS DISTINCT FROM revoke_subject.keep_id
    ORDER BY s.id
    FOR UPDATE OF s
  ), deleted AS (
    DELETE FROM sessionsql.session AS s
    USING owned AS o
    WHERE s.id = o.id
      AND s.subject = revoke_subject.subject
    RETURNING s.expires_at
  )
  SELECT count(*) INTO revoked
  FROM deleted AS d
  WHERE d.expires_at > statement_timestamp();

  RETURN revoked;
END
$function$;

COMMENT ON FUNCTION sessionsql.revoke_subject(text, bigint) IS
  'Ends all sessions of a subject, but for keep_id; returns how many were alive. Commits synchronously.';

-- Where a user is logged in: the live sessions of a subject, newest first, without secrets and payload.
CREATE OR REPLACE FUNCTION sessionsql.list_subject(subject text)
RETURNS SETOF sessionsql.subject_session
LANGUAGE sql STABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100 ROWS 10
BEGIN ATOMIC
  SELECT
    s.id,
    s.created_at,
    date_part('epoch', s.expires_at - statement_timestamp())::double precision AS expires_in
  FROM sessionsql.session AS s
  WHERE s.subject = list_subject.subject
    AND s.expires_at > statement_timestamp()
  ORDER BY s.created_at DESC, s.id DESC;
END;

COMMENT ON FUNCTION sessionsql.list_subject(text) IS
  'The live sessions of a subject, newest first, without secrets and payload.';

-- Deletes expired rows: a clock hand that walks the table by ranges of pages, so that a call costs the same on a table of
-- any size and needs no index on expires_at. Returns one row; no row = another reaper is at work, and there is nothing to
-- do. Call it again while it finds work; that, and not a higher limit, is how it keeps up with any rate.
--
-- Promises: deletes at most max_rows rows, reads at most max_pages pages of the table in search of them, never waits for a
-- row, never deletes a session that somebody kept alive in the meantime. A row that is locked is left for the next lap.
--
-- Commits asynchronously: a crash brings back rows that are expired all the same.
CREATE OR REPLACE FUNCTION sessionsql.reap(max_rows integer DEFAULT 1000, max_pages integer DEFAULT 4096)
RETURNS SETOF sessionsql.last_reap
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 10000 ROWS 1
SET search_path = pg_catalog, pg_temp
-- The bound in pages is a Tid Range Scan's. Without statistics, or with a connection's own settings, the planner may think
-- a scan of the whole table cheaper; here it must not.
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

  SELECT r.next_page INTO first_page
  FROM sessionsql.reaper AS r
  WHERE r.singleton
  FOR NO KEY UPDATE OF r SKIP LOCKED;
  IF NOT FOUND THEN
    RETURN;
  END IF;

  PERFORM set_config('synchronous_commit', 'off', true);

  table_pages := pg_relation_size('sessionsql.session'::regclass) / current_setting('block_size')::bigint;
  IF first_page >= table_pages THEN
    first_page := 0;
  END IF;
  end_page := LEAST(first_page + reap.max_pages, table_pages);

  -- Locked in the order of the scan and not of the ids: sorting would have to find every expired row of the range first,
  -- and since nothing here waits, no order can deadlock. The outer DELETE finds its rows by id, because by ctid it would
  -- miss or mistake a row that moved.
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

COMMENT ON FUNCTION sessionsql.reap(integer, integer) IS
  'Deletes expired sessions from the next range of pages; no row when another reaper is at work.';

-- The row number in a token, 32 characters of base64url over 24 bytes of which the first 8 are the id; null when the token
-- is malformed. Raises nothing: an error would carry the token into the server's log.
CREATE OR REPLACE FUNCTION sessionsql.token_id(token text)
RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 10
BEGIN ATOMIC
  SELECT CASE
    WHEN token_id.token ~ '^[A-Za-z0-9_-]{32}$'
      THEN NULLIF(GREATEST(
        ('x' || encode(substr(decode(translate(token_id.token, '-_', '+/'), 'base64'), 1, 8), 'hex'))::bit(64)::bigint,
        0
      ), 0)
  END;
END;

COMMENT ON FUNCTION sessionsql.token_id(text) IS 'The id in a token; null when it is malformed.';

-- SHA-256 of the secret in a token, the last 16 of its 24 bytes; null when the token is malformed. Raises nothing.
CREATE OR REPLACE FUNCTION sessionsql.token_hash(token text)
RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 10
BEGIN ATOMIC
  SELECT CASE
    WHEN token_hash.token ~ '^[A-Za-z0-9_-]{32}$'
      THEN sha256(substr(decode(translate(token_hash.token, '-_', '+/'), 'base64'), 9, 16))
  END;
END;

COMMENT ON FUNCTION sessionsql.token_hash(text) IS 'SHA-256 of the secret in a token; null when it is malformed.';

-- insert, for clients that have only SQL: makes the secret here, and returns the whole token; Go's open it too. The secret
-- is 128 bits of the server's strong randomness (what gen_random_uuid uses), and is stored nowhere.
--
-- The token is in the result and nowhere else; but a client that sends it back in SQL text (find_session('...')) has it in
-- the server's log wherever statements are logged: send it as a parameter, and keep log_parameter_max_length at 0.
CREATE OR REPLACE FUNCTION sessionsql.new_session(
  payload text,
  idle_timeout interval DEFAULT '30 minutes',
  lifetime interval DEFAULT NULL,
  subject text DEFAULT NULL,
  durable boolean DEFAULT false,
  max_sessions integer DEFAULT NULL
)
RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  -- A UUID has 6 fixed bits; hashing two of them leaves none.
  secret CONSTANT bytea := substr(sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())), 1, 16);
  id CONSTANT bigint := sessionsql.insert(
    sha256(secret),
    new_session.payload,
    new_session.idle_timeout,
    new_session.lifetime,
    new_session.subject,
    new_session.durable,
    new_session.max_sessions
  );
BEGIN
  RETURN translate(encode(int8send(id) || secret, 'base64'), '+/', '-_');
END
$function$;

COMMENT ON FUNCTION sessionsql.new_session(text, interval, interval, text, boolean, integer) IS
  'Inserts a session and returns its token, for clients that have only SQL.';

-- lookup, for clients that have only SQL: the live session that a token opens; no row for any other, malformed ones
-- included. Send the token as a parameter and not in the text.
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
  FROM sessionsql.lookup(sessionsql.token_id(find_session.token), sessionsql.token_hash(find_session.token)) AS l;
END;

COMMENT ON FUNCTION sessionsql.find_session(text) IS
  'The live session that a token opens; no row when there is none. For clients that have only SQL.';

-- revoke, for clients that have only SQL: ends the session that a token opens; returns whether there was one.
CREATE OR REPLACE FUNCTION sessionsql.end_session(token text)
RETURNS boolean
LANGUAGE sql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
BEGIN ATOMIC
  SELECT sessionsql.revoke(sessionsql.token_id(end_session.token), sessionsql.token_hash(end_session.token));
END;

COMMENT ON FUNCTION sessionsql.end_session(text) IS
  'Ends the session that a token opens; returns whether there was one. Commits synchronously.';

-- Privileges, in one place, each with its reason.

-- PostgreSQL gives EXECUTE on every new function to PUBLIC. A session store is nobody's who was not given it.
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA sessionsql FROM PUBLIC;
REVOKE ALL ON SCHEMA sessionsql FROM PUBLIC;

