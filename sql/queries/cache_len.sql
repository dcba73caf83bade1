-- name: CacheLen :one
SELECT sessionsql.cache_len(sqlc.arg(space)::integer) AS entries;
