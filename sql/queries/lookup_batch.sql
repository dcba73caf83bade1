-- name: LookupBatch :many
SELECT l.id, l.payload, l.version, l.subject, l.expires_in
FROM sessionsql.lookup_batch(
  sqlc.arg(ids)::sessionsql.id_list,
  sqlc.arg(secret_hashes)::sessionsql.hash_list
) AS l;
