-- name: CacheSwap :one
SELECT sessionsql.cache_swap(
  key => sqlc.arg(key)::pg_catalog.uuid,
  old_hash => sqlc.arg(old_hash)::pg_catalog.bytea,
  value => sqlc.arg(value)::sessionsql.entry_value,
  ttl_seconds => sqlc.narg(ttl_seconds)::double precision,
  final => sqlc.arg(final)::boolean
) AS outcome;
