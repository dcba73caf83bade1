-- name: CacheFetchLease :one
-- database/sql cannot scan null into a named type of bytes; a null expires_in says that there is no entry.
SELECT COALESCE(l.value, '')::sessionsql.entry_value AS value, l.expires_in, l.leased
FROM sessionsql.cache_fetch_lease_by_key(
  key => sqlc.arg(key)::pg_catalog.uuid,
  lease_key => sqlc.arg(lease_key)::pg_catalog.uuid,
  space => sqlc.arg(space)::integer,
  owner => sqlc.arg(owner)::sessionsql.entry_value,
  lease_seconds => sqlc.arg(lease_seconds)::double precision,
  stale_seconds => sqlc.arg(stale_seconds)::double precision
) AS l;
