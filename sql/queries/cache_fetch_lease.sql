-- name: CacheFetchLease :one
SELECT l.value, l.expires_in, l.leased
FROM sessionsql.cache_fetch_lease_by_key(
  key => sqlc.arg(key)::pg_catalog.uuid,
  lease_key => sqlc.arg(lease_key)::pg_catalog.uuid,
  space => sqlc.arg(space)::integer,
  owner => sqlc.arg(owner)::sessionsql.entry_value,
  lease_seconds => sqlc.arg(lease_seconds)::double precision,
  stale_seconds => sqlc.arg(stale_seconds)::double precision
) AS l;
