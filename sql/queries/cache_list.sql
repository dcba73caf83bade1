-- name: CacheList :many
SELECT l.key, l.plain_key, l.value, l.expires_in
FROM sessionsql.cache_list(
  sqlc.arg(space)::integer,
  sqlc.arg(after)::pg_catalog.uuid,
  sqlc.arg(max_rows)::integer
) AS l;
