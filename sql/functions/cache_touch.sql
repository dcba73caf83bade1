-- This is cache_touch_batch for clients that have only SQL. True means that the expiry moved, which it does at
-- most once every third of the TTL.
CREATE OR REPLACE FUNCTION sessionsql.cache_touch(
  space text,
  key text,
  ttl interval DEFAULT NULL,
  durable boolean DEFAULT false
)
RETURNS boolean
LANGUAGE sql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
BEGIN ATOMIC
  SELECT sessionsql.cache_touch_batch(
    ARRAY[sessionsql.cache_key(cache_touch.space, cache_touch.key)],
    ARRAY[date_part('epoch', cache_touch.ttl)],
    cache_touch.durable
  ) = 1;
END;

COMMENT ON FUNCTION sessionsql.cache_touch(text, text, interval, boolean) IS
  'Touches the entry of a space and key, and returns whether it was due. Commits asynchronously unless durable.';
