-- CacheIncrement returns no row if a tombstone stands.
-- name: CacheIncrement :one
SELECT i.total::bigint AS total
FROM sessionsql.cache_increment_by_key(
  key => sqlc.arg(key)::pg_catalog.uuid,
  space => sqlc.arg(space)::integer,
  delta => sqlc.arg(delta)::bigint,
  ttl_seconds => sqlc.narg(ttl_seconds)::double precision,
  plain_key => sqlc.arg(plain_key)::sessionsql.entry_value
) AS i (total)
WHERE i.total IS NOT NULL;
