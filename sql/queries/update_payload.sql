-- name: UpdatePayload :one
SELECT sessionsql.update_payload(
  id => sqlc.arg(id)::bigint,
  secret_hash => sqlc.arg(secret_hash)::pg_catalog.bytea,
  payload => sqlc.arg(payload)::sessionsql.payload,
  expected_version => sqlc.narg(expected_version)::integer,
  durable => sqlc.arg(durable)::boolean
) AS outcome;
