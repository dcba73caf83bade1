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
