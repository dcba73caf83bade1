-- name: Health :one
SELECT
  h.estimated_rows, h.heap_bytes, h.index_bytes, h.dead_tuples, h.hot_ratio, h.last_autovacuum,
  h.oldest_xmin_age, h.oldest_expired, h.last_lap_ended_at, h.wraparound_age
FROM sessionsql.health AS h;
