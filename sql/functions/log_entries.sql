-- The functions that write cache entries call this if a key is not below first_near_key(). A delete logs the
-- keys without a row too, because an evicted entry may still be in the memory of a program.
--
-- A clear of a large space is logged as a change of everything, because every program reads each key.
CREATE OR REPLACE FUNCTION sessionsql.log_entries(keys uuid[])
RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
BEGIN ATOMIC
  INSERT INTO sessionsql.change (keys)
  SELECT CASE WHEN count(*) <= 10000 THEN array_agg(k.key) END
  FROM unnest(log_entries.keys) AS k (key)
  WHERE k.key >= sessionsql.first_near_key()
  HAVING count(*) > 0;
END;

COMMENT ON FUNCTION sessionsql.log_entries(uuid[]) IS
  'Adds the keys of near cache entries to the change log.';
