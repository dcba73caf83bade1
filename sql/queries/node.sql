-- name: Node :one
SELECT n.in_recovery, n.wal_position
FROM sessionsql.node AS n;
