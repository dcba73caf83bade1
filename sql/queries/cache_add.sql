-- name: CacheAdd :one
SELECT sessionsql.cache_add(
  key => sqlc.arg(key)::pg_catalog.uuid,
  space => sqlc.arg(space)::integer,
  value => sqlc.arg(value)::sessionsql.entry_value,
  ttl_seconds => sqlc.narg(ttl_seconds)::double precision,
  plain_key => sqlc.arg(plain_key)::sessionsql.entry_value
) AS added;
