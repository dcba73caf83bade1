-- This ends the entries that a space has at the time of the call, and those alone: a set that commits later
-- stays. It reads the whole table, and is one transaction however many entries there are.
--
-- The promises are those of cache_delete_batch.
CREATE OR REPLACE FUNCTION sessionsql.cache_clear(
  space integer,
  final boolean DEFAULT false,
  durable boolean DEFAULT false
)
RETURNS bigint
LANGUAGE sql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 10000
BEGIN ATOMIC
  SELECT count(*)
  FROM sessionsql.cache_delete_batch(
    ARRAY(
      SELECT e.key
      FROM sessionsql.cache_entry AS e
      WHERE e.space = cache_clear.space
        AND sessionsql.is_home(e.key)
    ),
    cache_clear.final,
    cache_clear.durable
  );
END;

COMMENT ON FUNCTION sessionsql.cache_clear(integer, boolean, boolean) IS
  'Deletes every entry of a space and returns how many were alive. Commits synchronously if final.';
