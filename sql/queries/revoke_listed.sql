-- name: RevokeListed :one
SELECT sessionsql.revoke_listed(
  id => sqlc.arg(id)::bigint,
  secret_hash => sqlc.arg(secret_hash)::pg_catalog.bytea,
  listed_id => sqlc.arg(listed_id)::bigint
) AS revoked;
