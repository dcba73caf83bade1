-- These functions say which sessions and cache entries this primary owns: all of them, until sessionsql.shard
-- replaces the bodies. They are here and not in functions/, because an upgrade would otherwise make a shard
-- answer for everything again. The planner inlines them, so a primary without shards pays nothing for them.
CREATE FUNCTION sessionsql.is_home(id bigint)
RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1
BEGIN ATOMIC
  SELECT true;
END;

COMMENT ON FUNCTION sessionsql.is_home(bigint) IS 'Returns whether this primary owns a session; see shard.';

CREATE FUNCTION sessionsql.is_home(key uuid)
RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1
BEGIN ATOMIC
  SELECT true;
END;

COMMENT ON FUNCTION sessionsql.is_home(uuid) IS 'Returns whether this primary owns a cache entry; see shard.';

INSERT INTO sessionsql.migration (id, name) VALUES (9, 'shard');
