-- CacheGetBatch is the call of the same name in package db; see LookupBatch.
-- name: CacheGetBatch :many
SELECT g.key, g.value, g.expires_in, pg_catalog.pg_is_in_recovery() AS in_recovery
FROM sessionsql.cache_get_batch(sqlc.arg(keys)::pg_catalog.uuid[]) AS g;
