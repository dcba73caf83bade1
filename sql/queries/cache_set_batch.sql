-- name: CacheSetBatch :many
SELECT sessionsql.cache_set_batch(
  keys => sqlc.arg(keys)::sessionsql.key_list,
  spaces => sqlc.arg(spaces)::sessionsql.space_list,
  entry_values => sqlc.arg(entry_values)::sessionsql.value_list,
  ttl_seconds => sqlc.arg(ttl_seconds)::sessionsql.seconds_list,
  plain_keys => sqlc.arg(plain_keys)::sessionsql.value_list,
  slack_seconds => sqlc.arg(slack_seconds)::sessionsql.seconds_list
) AS refused;
