-- The shard of a session is the low bits of its id. That of an entry is those of the last byte of its key,
-- which spreads entries evenly, because a key is a hash. So there are as many shards as a byte has values, at
-- most. Each body is one expression, so that the planner inlines it.
CREATE OR REPLACE FUNCTION sessionsql.shard_of(id bigint)
RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1
BEGIN ATOMIC
  SELECT (COALESCE(shard_of.id, 0) & 255)::integer;
END;

COMMENT ON FUNCTION sessionsql.shard_of(bigint) IS
  'Returns a number whose low bits are the shard of a session, 0 to 255; 0 for null.';

CREATE OR REPLACE FUNCTION sessionsql.shard_of(key uuid)
RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1
BEGIN ATOMIC
  SELECT COALESCE(get_byte(uuid_send(shard_of.key), 15), 0);
END;

COMMENT ON FUNCTION sessionsql.shard_of(uuid) IS
  'Returns a number whose low bits are the shard of a cache entry, 0 to 255; 0 for null.';
