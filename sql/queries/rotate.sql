-- name: Rotate :one
SELECT sessionsql.rotate(
  id => sqlc.arg(id)::bigint,
  secret_hash => sqlc.arg(secret_hash)::pg_catalog.bytea,
  new_secret_hash => sqlc.arg(new_secret_hash)::pg_catalog.bytea,
  grace => pg_catalog.make_interval(secs => sqlc.arg(grace_seconds)::double precision),
  subject => sqlc.narg(subject)::varchar
) AS rotated;
