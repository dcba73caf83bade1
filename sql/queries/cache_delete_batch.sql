-- name: CacheDeleteBatch :many
SELECT sessionsql.cache_delete_batch(
  keys => sqlc.arg(keys)::sessionsql.key_list,
  final => sqlc.arg(final)::boolean
) AS ended;
