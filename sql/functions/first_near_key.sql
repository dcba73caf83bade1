-- Programs may keep cache entries in memory whose space has a name that begins with "near:". The key of such
-- an entry is not below this one; see cache_key. So each function that writes knows from the keys alone
-- whether the change log needs them, and all writers agree, whatever their options. One other key in 65,536
-- is in the log for nothing.
CREATE OR REPLACE FUNCTION sessionsql.first_near_key()
RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1
BEGIN ATOMIC
  SELECT 'ffff0000-0000-0000-0000-000000000000'::uuid;
END;

COMMENT ON FUNCTION sessionsql.first_near_key() IS
  'Returns the lowest key of a cache entry that programs may keep in memory.';
