-- This is cache_fetch_lease_by_key for clients that have only SQL. Release the lease with cache_end_lease.
CREATE OR REPLACE FUNCTION sessionsql.cache_fetch_lease(
  space text,
  key text,
  owner bytea,
  lease interval DEFAULT '30 seconds',
  stale interval DEFAULT '0'
)
RETURNS SETOF sessionsql.cache_lease
LANGUAGE sql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100 ROWS 1
BEGIN ATOMIC
  SELECT
    l.value,
    l.expires_in,
    l.leased
  FROM (
    SELECT sessionsql.cache_key(cache_fetch_lease.space, cache_fetch_lease.key) AS key
  ) AS k
  CROSS JOIN LATERAL sessionsql.cache_fetch_lease_by_key(
    k.key,
    sessionsql.cache_lease_key(k.key),
    sessionsql.cache_space_id(cache_fetch_lease.space),
    cache_fetch_lease.owner,
    date_part('epoch', cache_fetch_lease.lease),
    date_part('epoch', cache_fetch_lease.stale)
  ) AS l;
END;

COMMENT ON FUNCTION sessionsql.cache_fetch_lease(text, text, bytea, interval, interval) IS
  'Returns the entry of a space and key, and whether the caller got the lease to load its value.';
