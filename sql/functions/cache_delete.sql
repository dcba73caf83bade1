-- This is cache_delete_batch for clients that have only SQL.
CREATE OR REPLACE FUNCTION sessionsql.cache_delete(
  space text,
  key text,
  final boolean DEFAULT false,
  durable boolean DEFAULT false
)
RETURNS boolean
LANGUAGE sql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
BEGIN ATOMIC
  SELECT count(*) = 1
  FROM sessionsql.cache_delete_batch(
    ARRAY[sessionsql.cache_key(cache_delete.space, cache_delete.key)],
    cache_delete.final,
    cache_delete.durable
  );
END;

COMMENT ON FUNCTION sessionsql.cache_delete(text, text, boolean, boolean) IS
  'Deletes the entry of a space and key, and returns whether it was alive. Commits synchronously if final.';
