-- name: Reap :one
SELECT r.reaped, r.pages, r.lap_done
FROM sessionsql.reap(sqlc.arg(max_rows)::integer, sqlc.arg(max_pages)::integer) AS r;
