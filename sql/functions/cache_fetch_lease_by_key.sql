-- This is for a caller that found no entry, or a stale one, and would load its value. Of many such callers
-- one gets the lease, and the others the entry as it is. An entry with more than stale_seconds left is fresh,
-- and then nobody gets a lease.
--
-- The lease is an entry under lease_key with the value owner. Release it with cache_swap, which takes the
-- hash of owner, so that nobody releases the lease of another. It ends by itself after lease_seconds.
--
-- The body only calls other functions, because entry and lease may be on two shards.
CREATE OR REPLACE FUNCTION sessionsql.cache_fetch_lease_by_key(
  key uuid,
  lease_key uuid,
  space integer,
  owner bytea,
  lease_seconds double precision,
  stale_seconds double precision DEFAULT 0
)
RETURNS SETOF sessionsql.cache_lease
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100 ROWS 1
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  result sessionsql.cache_lease;
BEGIN
  IF (
    cache_fetch_lease_by_key.lease_seconds > 0 AND cache_fetch_lease_by_key.stale_seconds >= 0
  ) IS NOT TRUE THEN
    RAISE invalid_parameter_value USING
      MESSAGE = 'sessionsql.cache_fetch_lease_by_key: the lease must be positive, stale_seconds at least 0';
  END IF;

  result.leased := false;
  LOOP
    SELECT
      g.value,
      g.expires_in
    INTO result.value, result.expires_in
    FROM sessionsql.cache_get_batch(ARRAY[cache_fetch_lease_by_key.key]) AS g;
    EXIT WHEN result.leased OR result.expires_in > cache_fetch_lease_by_key.stale_seconds;

    -- An empty plain key marks the lease, because no entry has one.
    result.leased := sessionsql.cache_add(
      cache_fetch_lease_by_key.lease_key,
      cache_fetch_lease_by_key.space,
      cache_fetch_lease_by_key.owner,
      cache_fetch_lease_by_key.lease_seconds,
      ''
    );
    EXIT WHEN NOT result.leased;
  END LOOP;

  -- The last holder may have set the entry and released the lease between the read and the lease.
  IF result.leased AND result.expires_in > cache_fetch_lease_by_key.stale_seconds THEN
    PERFORM sessionsql.cache_swap(
      cache_fetch_lease_by_key.lease_key, sha256(cache_fetch_lease_by_key.owner), NULL::bytea
    );
    result.leased := false;
  END IF;
  RETURN NEXT result;
END
$function$;

COMMENT ON FUNCTION
  sessionsql.cache_fetch_lease_by_key(uuid, uuid, integer, bytea, double precision, double precision) IS
  'Returns an entry, and whether the caller got the lease to load its value.';
