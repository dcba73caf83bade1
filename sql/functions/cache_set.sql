-- This is cache_set_batch for clients that have only SQL. A null TTL means that the entry never expires. False
-- means that a tombstone stands. keep_key keeps the key as it is, which cache_list needs.
CREATE OR REPLACE FUNCTION sessionsql.cache_set(
  space text,
  key text,
  value bytea,
  ttl interval DEFAULT NULL,
  slack interval DEFAULT NULL,
  keep_key boolean DEFAULT false,
  durable boolean DEFAULT false
)
RETURNS boolean
LANGUAGE sql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
BEGIN ATOMIC
  SELECT count(*) = 0
  FROM sessionsql.cache_set_batch(
    ARRAY[sessionsql.cache_key(cache_set.space, cache_set.key)],
    ARRAY[sessionsql.cache_space_id(cache_set.space)],
    ARRAY[cache_set.value],
    ARRAY[date_part('epoch', cache_set.ttl)],
    CASE WHEN cache_set.keep_key THEN ARRAY[convert_to(cache_set.key, 'UTF8')] END,
    ARRAY[date_part('epoch', cache_set.slack)],
    cache_set.durable
  );
END;

COMMENT ON FUNCTION sessionsql.cache_set(text, text, bytea, interval, interval, boolean, boolean) IS
  'Sets the value of a space and key; false if a tombstone stands. Commits asynchronously unless durable.';
