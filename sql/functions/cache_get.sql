-- This is cache_get_batch for clients that have only SQL. Null means that there is no live entry.
CREATE OR REPLACE FUNCTION sessionsql.cache_get(space text, key text)
RETURNS bytea
LANGUAGE sql STABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
BEGIN ATOMIC
  SELECT g.value
  FROM sessionsql.cache_get_batch(ARRAY[sessionsql.cache_key(cache_get.space, cache_get.key)]) AS g;
END;

COMMENT ON FUNCTION sessionsql.cache_get(text, text) IS 'Returns the value of a space and key, or null.';
