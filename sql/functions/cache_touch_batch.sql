-- A touch extends an entry as touch_batch extends a session whose idle timeout is the TTL: only if less than
-- the TTL is left, and by a third more, so that a busy entry is rewritten once every third of its TTL. A null
-- TTL makes an entry live for ever.
--
-- Promises: never shortens an expiry, never resurrects an entry, never moves a tombstone, and never waits for
-- a row, so it cannot deadlock under any plan. Commits asynchronously unless durable.
CREATE OR REPLACE FUNCTION sessionsql.cache_touch_batch(
  keys uuid[],
  ttl_seconds double precision[],
  durable boolean DEFAULT false
)
RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1000
SET search_path = pg_catalog, pg_temp
-- This keeps one plan for batches of any length, and leaves only plans that find each row by its key; see
-- update_payload_batch.
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $function$
DECLARE
  -- No expiry is later than this from now, unless it is infinity.
  never CONSTANT double precision := 2 * sessionsql.max_timeout();
  touched bigint;
BEGIN
  -- unnest pads shorter arrays with nulls, and a null TTL is good.
  IF cardinality(cache_touch_batch.keys) IS DISTINCT FROM cardinality(cache_touch_batch.ttl_seconds)
    OR EXISTS (
      SELECT FROM unnest(cache_touch_batch.ttl_seconds) AS t (ttl) WHERE NOT sessionsql.is_ttl(t.ttl)
    )
  THEN
    RAISE invalid_parameter_value USING
      MESSAGE = 'sessionsql.cache_touch_batch: each key needs a ttl of at most 100 years, or null for none';
  END IF;

  PERFORM sessionsql.commit_asynchronously(cache_touch_batch.durable);
  WITH due AS MATERIALIZED (
    SELECT e.key, t.ttl
    FROM unnest(cache_touch_batch.keys, cache_touch_batch.ttl_seconds) AS t (key, ttl)
    JOIN sessionsql.cache_entry AS e ON e.key = sessionsql.at_home(t.key)
    WHERE e.value IS NOT NULL
      AND sessionsql.is_due(e.expires_at, COALESCE(t.ttl, never), 'infinity')
    ORDER BY e.key
    FOR NO KEY UPDATE OF e SKIP LOCKED
  )
  UPDATE sessionsql.cache_entry AS e
  SET expires_at = GREATEST(e.expires_at, sessionsql.next_expiry(d.ttl, 'infinity'))
  FROM due AS d
  WHERE e.key = d.key
    AND e.value IS NOT NULL
    AND sessionsql.is_due(e.expires_at, COALESCE(d.ttl, never), 'infinity');

  GET DIAGNOSTICS touched = ROW_COUNT;
  RETURN touched;
END
$function$;

COMMENT ON FUNCTION sessionsql.cache_touch_batch(uuid[], double precision[], boolean) IS
  'Touches the entries that are due and returns their number. Commits asynchronously unless durable.';
