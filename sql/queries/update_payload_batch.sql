-- name: UpdatePayloadBatch :many
SELECT u.id, u.version
FROM sessionsql.update_payload_batch(
  ids => sqlc.arg(ids)::sessionsql.id_list,
  secret_hashes => sqlc.arg(secret_hashes)::sessionsql.hash_list,
  payloads => sqlc.arg(payloads)::sessionsql.payload_list,
  expected_versions => sqlc.arg(expected_versions)::sessionsql.version_list
) AS u;
