-- CacheSetBatch is the call of the same name in package db; see LookupBatch.
-- name: CacheSetBatch :many
SELECT sessionsql.cache_set_batch(
  keys => sqlc.arg(keys)::pg_catalog.uuid[],
  spaces => sqlc.arg(spaces)::integer[],
  entry_values => sqlc.arg(entry_values)::pg_catalog.bytea[],
  ttl_seconds => sqlc.arg(ttl_seconds)::pg_catalog.float8[],
  plain_keys => sqlc.arg(plain_keys)::pg_catalog.bytea[],
  slack_seconds => sqlc.arg(slack_seconds)::pg_catalog.float8[]
) AS refused;
