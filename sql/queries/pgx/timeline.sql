-- Timeline runs on a new connection to a primary before the pool gets it; see sessionsql/dial.go.
-- name: Timeline :one
SELECT n.system_identifier, n.timeline FROM sessionsql.node AS n;
