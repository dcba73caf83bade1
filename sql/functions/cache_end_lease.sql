-- This is for clients that have only SQL: the end of the lease of cache_fetch_lease, if it is still the owner's.
CREATE OR REPLACE FUNCTION sessionsql.cache_end_lease(space text, key text, owner bytea)
RETURNS boolean
LANGUAGE sql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
BEGIN ATOMIC
  SELECT sessionsql.cache_swap(
    sessionsql.cache_lease_key(sessionsql.cache_key(cache_end_lease.space, cache_end_lease.key)),
    sha256(cache_end_lease.owner),
    NULL::bytea
  ) = 1;
END;

COMMENT ON FUNCTION sessionsql.cache_end_lease(text, text, bytea) IS
  'Releases the lease of a space and key, and returns whether it was still the owner''s.';
