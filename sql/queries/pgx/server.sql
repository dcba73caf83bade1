-- Server tells which server a connection leads to; see sessionsql/server.go.
-- name: Server :one
SELECT n.system_identifier, n.timeline, n.started_at FROM sessionsql.node AS n;
