-- The value is a decimal number as text. The TTL counts from the entry's birth: later calls do not extend it.
-- Null means that a tombstone stands.
--
-- Promises: no increment is lost or counted twice. Commits asynchronously unless durable.
CREATE OR REPLACE FUNCTION sessionsql.cache_increment_by_key(
  key uuid,
  space integer,
  delta bigint,
  ttl_seconds double precision,
  plain_key bytea DEFAULT NULL,
  durable boolean DEFAULT false
)
RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
SET search_path = pg_catalog, pg_temp
AS $function$
#variable_conflict use_column
DECLARE
  born CONSTANT bytea := decode(cache_increment_by_key.delta::text, 'escape');
  total bigint;
BEGIN
  PERFORM sessionsql.check_entry(
    'cache_increment_by_key',
    cache_increment_by_key.key,
    cache_increment_by_key.space,
    born,
    cache_increment_by_key.ttl_seconds
  );

  PERFORM sessionsql.commit_asynchronously(cache_increment_by_key.durable);
  INSERT INTO sessionsql.cache_entry AS e (key, expires_at, space, value, plain_key)
  VALUES (
    sessionsql.at_home(cache_increment_by_key.key),
    sessionsql.cache_expiry(cache_increment_by_key.ttl_seconds),
    cache_increment_by_key.space,
    born,
    cache_increment_by_key.plain_key
  )
  ON CONFLICT (key) DO UPDATE
  SET (expires_at, value) = (
        SELECT
          CASE WHEN a.alive THEN e.expires_at ELSE EXCLUDED.expires_at END,
          CASE
            WHEN a.alive THEN sessionsql.cache_sum(e.value, cache_increment_by_key.delta)
            ELSE EXCLUDED.value
          END
        -- OFFSET 0 makes both columns see one time.
        FROM (SELECT e.expires_at > clock_timestamp() AS alive OFFSET 0) AS a
      ),
      plain_key = EXCLUDED.plain_key
  WHERE e.value IS NOT NULL OR e.expires_at <= clock_timestamp()
  RETURNING encode(e.value, 'escape')::bigint INTO total;
  IF sessionsql.first_near_key() <= cache_increment_by_key.key THEN
    PERFORM sessionsql.log_entries(ARRAY[cache_increment_by_key.key]);
  END IF;
  RETURN total;
END
$function$;

COMMENT ON FUNCTION
  sessionsql.cache_increment_by_key(uuid, integer, bigint, double precision, bytea, boolean) IS
  'Adds to an entry''s number, or sets it, and returns the sum; null if a tombstone stands.';
