-- What a client has to know of the server it talks to: primary or replica, and how far its WAL has come. A
-- write that was acknowledged before the primary's position P was read is visible on every replica whose
-- position is P or more. The primary's is the insert position, because an asynchronous commit is acknowledged
-- before it is flushed.
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
