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
