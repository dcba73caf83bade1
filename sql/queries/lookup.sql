-- name: Lookup :one
SELECT l.id, l.payload, l.version, l.subject, l.expires_in
FROM sessionsql.lookup(sqlc.arg(id)::bigint, sqlc.arg(secret_hash)::pg_catalog.bytea) AS l;
