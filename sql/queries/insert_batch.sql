-- InsertBatch names only parameters that 0.1.0 has, for the reason in Insert.
-- name: InsertBatch :many
SELECT n.id, n.secret_hash
FROM sessionsql.insert_batch(
  secret_hashes => sqlc.arg(secret_hashes)::sessionsql.hash_list,
  payloads => sqlc.arg(payloads)::sessionsql.payload_list,
  idle_seconds => sqlc.arg(idle_seconds)::sessionsql.seconds_list,
  lifetime_seconds => sqlc.arg(lifetime_seconds)::sessionsql.seconds_list,
  subjects => sqlc.arg(subjects)::sessionsql.subject_list
) AS n;

-- name: InsertBatchLabelled :many
SELECT n.id, n.secret_hash
FROM sessionsql.insert_batch(
  secret_hashes => sqlc.arg(secret_hashes)::sessionsql.hash_list,
  payloads => sqlc.arg(payloads)::sessionsql.payload_list,
  idle_seconds => sqlc.arg(idle_seconds)::sessionsql.seconds_list,
  lifetime_seconds => sqlc.arg(lifetime_seconds)::sessionsql.seconds_list,
  subjects => sqlc.arg(subjects)::sessionsql.subject_list,
  labels => sqlc.arg(labels)::sessionsql.subject_list
) AS n;
