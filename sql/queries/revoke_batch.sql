-- name: RevokeBatch :many
SELECT sessionsql.revoke_batch(
  ids => sqlc.arg(ids)::sessionsql.id_list,
  secret_hashes => sqlc.arg(secret_hashes)::sessionsql.hash_list
) AS id;
