-- name: Insert :one
SELECT sessionsql.insert(
  secret_hash => sqlc.arg(secret_hash)::pg_catalog.bytea,
  payload => sqlc.arg(payload)::sessionsql.payload,
  idle_timeout => pg_catalog.make_interval(secs => sqlc.arg(idle_seconds)::double precision),
  lifetime => pg_catalog.make_interval(secs => sqlc.narg(lifetime_seconds)::double precision),
  subject => sqlc.narg(subject)::varchar,
  durable => sqlc.arg(durable)::boolean,
  max_sessions => sqlc.narg(max_sessions)::integer
) AS id;
