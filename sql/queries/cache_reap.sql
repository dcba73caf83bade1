-- name: CacheReap :one
SELECT r.reaped, r.evicted, r.pages, r.lap_done
FROM sessionsql.cache_reap(
  max_rows => sqlc.arg(max_rows)::integer,
  max_pages => sqlc.arg(max_pages)::integer,
  spaces => sqlc.arg(spaces)::sessionsql.space_list,
  budgets => sqlc.arg(budgets)::sessionsql.id_list
) AS r;
