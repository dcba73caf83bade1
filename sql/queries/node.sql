-- name: Node :one
SELECT
  n.in_recovery, n.wal_position, n.flushed_position, n.timeline, n.noted_timeline, n.system_identifier,
  n.started_at, n.clock
FROM sessionsql.node AS n;

-- InRecovery works without a bundle.
-- name: InRecovery :one
SELECT pg_catalog.pg_is_in_recovery() AS in_recovery;
