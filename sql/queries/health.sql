-- name: Health :one
SELECT
  h.estimated_rows, h.heap_bytes, h.index_bytes, h.dead_tuples, h.hot_ratio, h.last_autovacuum,
  h.oldest_xmin_age, h.oldest_expired, h.last_lap_ended_at, h.wraparound_age
FROM sessionsql.health AS h;

-- CacheHealth stands alone, because the view has these columns only from 0.2.0 on.
-- name: CacheHealth :one
SELECT
  h.cache_rows, h.cache_heap_bytes, h.cache_index_bytes, h.cache_dead_tuples, h.cache_hot_ratio,
  h.cache_oldest_expired, h.cache_last_lap_ended_at
FROM sessionsql.health AS h;
