-- name: CacheTouchBatch :one
SELECT sessionsql.cache_touch_batch(
  keys => sqlc.arg(keys)::sessionsql.key_list,
  ttl_seconds => sqlc.arg(ttl_seconds)::sessionsql.seconds_list
) AS touched;
