-- name: Changes :one
SELECT c.epoch, c.snapshot, c.everything, c.ids, c.keys
FROM sessionsql.changes(sqlc.narg(last)::varchar::pg_catalog.pg_snapshot) AS c;
