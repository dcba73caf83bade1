-- A negative TTL is good, because it means that the entry is dead already. NaN is greater than all numbers.
-- The function has no SET clause and is not STRICT, so that the planner inlines it.
CREATE OR REPLACE FUNCTION sessionsql.is_ttl(seconds double precision)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1
BEGIN ATOMIC
  SELECT COALESCE(
    is_ttl.seconds > '-Infinity'::double precision AND is_ttl.seconds <= sessionsql.max_timeout(),
    true
  );
END;

COMMENT ON FUNCTION sessionsql.is_ttl(double precision) IS
  'Returns whether a TTL in seconds is a number of at most 100 years, or null for an entry that never expires.';
