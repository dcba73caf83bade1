-- A router calls this after each call that goes to all shards, because a shard that has joined since the
-- router read its map was not asked. It asks is_home, which alone knows the shard.
CREATE OR REPLACE FUNCTION sessionsql.shards()
RETURNS integer
LANGUAGE sql STABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
BEGIN ATOMIC
  SELECT (count(*) / NULLIF(count(*) FILTER (WHERE sessionsql.is_home(b.bits)), 0))::integer
  FROM generate_series(0::bigint, 255) AS b (bits);
END;

COMMENT ON FUNCTION sessionsql.shards() IS
  'Returns the number of shards of which this primary owns one, or null if it owns none.';
