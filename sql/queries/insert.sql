-- name: Insert :one
SELECT sessionsql.insert(
  secret_hash => sqlc.arg(secret_hash)::bytea,
  payload => sqlc.arg(payload)::sessionsql.payload,
  idle_timeout => make_interval(secs => sqlc.arg(idle_seconds)::double precision),
  lifetime => make_interval(secs => sqlc.narg(lifetime_seconds)::double precision),
  subject => sqlc.narg(subject)::text,
  durable => sqlc.arg(durable)::boolean,
  max_sessions => sqlc.narg(max_sessions)::integer
) AS id;
