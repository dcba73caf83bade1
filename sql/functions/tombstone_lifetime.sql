-- A tombstone outlives every request that was under way when its entry was deleted.
CREATE OR REPLACE FUNCTION sessionsql.tombstone_lifetime()
RETURNS interval
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT SECURITY INVOKER COST 1
BEGIN ATOMIC
  SELECT '1 hour'::interval;
END;

COMMENT ON FUNCTION sessionsql.tombstone_lifetime() IS 'Returns how long a final delete refuses later sets.';
