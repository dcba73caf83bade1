-- An entry expires exactly when its caller says, unlike a session, which gets a third more. A TTL that is
-- over already makes an entry that is dead at once. The function has no SET clause and is not STRICT, so that
-- the planner inlines it.
CREATE OR REPLACE FUNCTION sessionsql.cache_expiry(ttl_seconds double precision)
RETURNS timestamptz
LANGUAGE sql VOLATILE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1
BEGIN ATOMIC
  SELECT sessionsql.deadline_after(
    CASE WHEN cache_expiry.ttl_seconds < 0 THEN 0 ELSE cache_expiry.ttl_seconds END
  );
END;

COMMENT ON FUNCTION sessionsql.cache_expiry(double precision) IS
  'Returns the expiry of an entry that is set now; infinity for a null TTL.';
