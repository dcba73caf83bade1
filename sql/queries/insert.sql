-- Insert names only parameters that 0.1.0 has, so that programs and bundles of different versions run side by
-- side.
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

-- name: InsertLabelled :one
SELECT sessionsql.insert(
  secret_hash => sqlc.arg(secret_hash)::pg_catalog.bytea,
  payload => sqlc.arg(payload)::sessionsql.payload,
  idle_timeout => pg_catalog.make_interval(secs => sqlc.arg(idle_seconds)::double precision),
  lifetime => pg_catalog.make_interval(secs => sqlc.narg(lifetime_seconds)::double precision),
  subject => sqlc.narg(subject)::varchar,
  durable => sqlc.arg(durable)::boolean,
  max_sessions => sqlc.narg(max_sessions)::integer,
  label => sqlc.arg(label)::varchar
) AS id;
