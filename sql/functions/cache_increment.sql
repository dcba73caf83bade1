-- This is cache_increment_by_key for clients that have only SQL.
CREATE OR REPLACE FUNCTION sessionsql.cache_increment(
  space text,
  key text,
  delta bigint DEFAULT 1,
  ttl interval DEFAULT NULL,
  durable boolean DEFAULT false
)
RETURNS bigint
LANGUAGE sql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
BEGIN ATOMIC
  SELECT sessionsql.cache_increment_by_key(
    sessionsql.cache_key(cache_increment.space, cache_increment.key),
    sessionsql.cache_space_id(cache_increment.space),
    cache_increment.delta,
    date_part('epoch', cache_increment.ttl),
    NULL::bytea,
    cache_increment.durable
  );
END;

COMMENT ON FUNCTION sessionsql.cache_increment(text, text, bigint, interval, boolean) IS
  'Adds to the number of a space and key, or sets it, and returns the sum; null if a tombstone stands.';
