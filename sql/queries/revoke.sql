-- name: Revoke :one
SELECT sessionsql.revoke(sqlc.arg(id)::bigint, sqlc.arg(secret_hash)::pg_catalog.bytea) AS revoked;
