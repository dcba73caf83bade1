-- name: Rotate :one
SELECT sessionsql.rotate(
  id => sqlc.arg(id)::bigint,
  secret_hash => sqlc.arg(secret_hash)::bytea,
  new_secret_hash => sqlc.arg(new_secret_hash)::bytea,
  grace => make_interval(secs => sqlc.arg(grace_seconds)::double precision),
  subject => sqlc.narg(subject)::text
) AS rotated;
