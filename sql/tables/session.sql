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
