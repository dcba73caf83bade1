-- Rotate names only parameters that 0.1.0 has, for the reason in Insert.
-- name: Rotate :one
SELECT sessionsql.rotate(
  id => sqlc.arg(id)::bigint,
  secret_hash => sqlc.arg(secret_hash)::pg_catalog.bytea,
  new_secret_hash => sqlc.arg(new_secret_hash)::pg_catalog.bytea,
  grace => pg_catalog.make_interval(secs => sqlc.arg(grace_seconds)::double precision),
  subject => sqlc.narg(subject)::varchar
) AS rotated;

-- name: RotateCapped :one
SELECT sessionsql.rotate(
  id => sqlc.arg(id)::bigint,
  secret_hash => sqlc.arg(secret_hash)::pg_catalog.bytea,
  new_secret_hash => sqlc.arg(new_secret_hash)::pg_catalog.bytea,
  grace => pg_catalog.make_interval(secs => sqlc.arg(grace_seconds)::double precision),
  subject => sqlc.arg(subject)::varchar,
  max_sessions => sqlc.arg(max_sessions)::integer
) AS rotated;
