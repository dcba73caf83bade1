-- This makes a primary one of several, each of which owns the sessions whose id has its number in the low
-- bits, and the cache entries whose key has; see shard_of. New ids then have these bits too. A null shard
-- owns nothing, which is for a primary that is being filled. shard(1, 0) owns everything again.
--
-- Promises: when it has committed, no write of a session or entry that this primary no longer owns is under
-- way or will be done, because it waits for the writers and keeps others out meanwhile. All calls for these
-- raise SQLSTATE SQ001 from then on. Rows that this primary does not own stay where they are, and lists and
-- counts leave them out. A crash, a failover and an upgrade keep the shard, because it is in the catalog and
-- the commit is synchronous. Connections drop ids that they hold in stock, so no new session gets an id of
-- another shard.
--
-- The lock times out, because everybody who writes waits behind it. Run it again then.
CREATE OR REPLACE FUNCTION sessionsql.shard(shards integer, shard integer)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 10000
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '1s'
AS $function$
DECLARE
  mask CONSTANT integer := shard.shards - 1;
  last_id bigint;
  first_id bigint;
BEGIN
  IF (mask BETWEEN 0 AND 255 AND shard.shards & mask = 0) IS NOT TRUE THEN
    RAISE invalid_parameter_value USING
      MESSAGE = 'sessionsql.shard: shards must be a power of two, and shards - 1 at most 255';
  ELSIF shard.shard NOT BETWEEN 0 AND mask THEN
    RAISE invalid_parameter_value USING
      MESSAGE = 'sessionsql.shard: shard must be at least 0 and less than shards, or null for none';
  ELSIF EXISTS (SELECT FROM pg_extension AS e WHERE e.extname = 'sessionsql') THEN
    -- pg_dump leaves out the functions of an extension, so a restored shard would answer for all sessions.
    RAISE feature_not_supported USING
      MESSAGE = 'sessionsql.shard: a bundle that is an extension cannot be a shard',
      HINT = 'Install it with sql/install.sql, because a dump of an extension does not hold the shard.';
  END IF;

  PERFORM sessionsql.commit_synchronously();
  LOCK TABLE sessionsql.session, sessionsql.cache_entry IN EXCLUSIVE MODE;
  EXECUTE format(
    $statement$
    CREATE OR REPLACE FUNCTION sessionsql.is_home(id bigint)
    RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1
    BEGIN ATOMIC
      SELECT %1$s;
    END;
    CREATE OR REPLACE FUNCTION sessionsql.is_home(key uuid)
    RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1
    BEGIN ATOMIC
      SELECT %2$s;
    END;
    $statement$,
    CASE
      WHEN shard.shard IS NULL THEN 'false'
      WHEN mask = 0 THEN 'true'
      ELSE format('is_home.id & %s = %s', mask, shard.shard)
    END,
    CASE
      WHEN shard.shard IS NULL THEN 'false'
      WHEN mask = 0 THEN 'true'
      ELSE format('sessionsql.shard_of(is_home.key) & %s = %s', mask, shard.shard)
    END
  );

  -- Programs forget what they keep in memory, because nobody tells them here what the new owner changes.
  INSERT INTO sessionsql.change (ids) VALUES (NULL);

  -- A restart replaces the file of the sequence, and by that a connection knows that its stock is no longer
  -- good. It begins behind the ids of all rows, also of those that came from another primary.
  SELECT GREATEST(s.last_value, (SELECT max(r.id) FROM sessionsql.session AS r)) INTO last_id
  FROM sessionsql.session_id_seq AS s;
  first_id := (last_id | mask) + 1 + COALESCE(shard.shard, 0);
  EXECUTE format(
    'ALTER SEQUENCE sessionsql.session_id_seq INCREMENT BY %s RESTART WITH %s', shard.shards, first_id
  );
END
$function$;

COMMENT ON FUNCTION sessionsql.shard(integer, integer) IS
  'Makes this primary own one shard of so many, all of them (1, 0), or none (null shard). For its owner.';
