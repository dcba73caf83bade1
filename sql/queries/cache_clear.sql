-- name: CacheClear :one
SELECT sessionsql.cache_clear(space => sqlc.arg(space)::integer, final => sqlc.arg(final)::boolean) AS ended;
