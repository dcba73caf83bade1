-- name: LookupNear :many
SELECT l.id, l.payload, l.version, l.subject, l.expires_in, l.is_current, l.in_recovery
FROM sessionsql.lookup_near(
  sqlc.arg(ids)::sessionsql.id_list,
  sqlc.arg(secret_hashes)::sessionsql.hash_list
) AS l;
