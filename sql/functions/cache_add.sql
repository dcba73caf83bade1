-- Of many callers that add one key, one gets true. A live entry is read and not locked, so that the others
-- cost no write. Commits asynchronously unless durable.
CREATE OR REPLACE FUNCTION sessionsql.cache_add(
  key uuid,
  space integer,
  value bytea,
  ttl_seconds double precision,
  plain_key bytea DEFAULT NULL,
  durable boolean DEFAULT false
)
RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
SET search_path = pg_catalog, pg_temp
AS $function$
#variable_conflict use_column
BEGIN
  PERFORM sessionsql.check_entry(
    'cache_add', cache_add.key, cache_add.space, cache_add.value, cache_add.ttl_seconds
  );
  IF EXISTS (
    SELECT
    FROM sessionsql.cache_entry AS e
    WHERE e.key = sessionsql.at_home(cache_add.key)
      AND e.expires_at > clock_timestamp()
  ) THEN
    RETURN false;
  END IF;

  PERFORM sessionsql.commit_asynchronously(cache_add.durable);
  INSERT INTO sessionsql.cache_entry AS e (key, expires_at, space, value, plain_key)
  VALUES (
    sessionsql.at_home(cache_add.key),
    sessionsql.cache_expiry(cache_add.ttl_seconds),
    cache_add.space,
    cache_add.value,
    cache_add.plain_key
  )
  ON CONFLICT (key) DO UPDATE
  SET expires_at = EXCLUDED.expires_at,
      value = EXCLUDED.value,
      plain_key = EXCLUDED.plain_key
  WHERE e.expires_at <= clock_timestamp();
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  IF sessionsql.first_near_key() <= cache_add.key THEN
    PERFORM sessionsql.log_entries(ARRAY[cache_add.key]);
  END IF;
  RETURN true;
END
$function$;

COMMENT ON FUNCTION sessionsql.cache_add(uuid, integer, bytea, double precision, bytea, boolean) IS
  'Sets an entry unless one is alive or a tombstone stands, and returns whether it did.';
