-- Promises: never shortens an expiry, never passes a deadline, never resurrects a session, writes no row that
-- has more than its idle timeout left, and never waits for a row, so it cannot deadlock under any plan. It
-- skips a locked row, because the holder of the lock extends the expiry itself (a touch, a payload write, a
-- rotate) or deletes the row.
--
-- It takes ids without hashes, because the caller has looked the sessions up, and a touch gives nobody
-- access. It commits asynchronously unless durable, because a crash loses only the last touches, which the
-- next touch repeats.
CREATE OR REPLACE FUNCTION sessionsql.touch_batch(ids bigint[], durable boolean DEFAULT false)
RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1000
SET search_path = pg_catalog, pg_temp
-- This keeps one plan for batches of any length; see lookup_batch.
SET plan_cache_mode = force_generic_plan
AS $function$
DECLARE
  -- An assignment is faster than PERFORM here; see insert.
  asynchronous CONSTANT text := sessionsql.commit_asynchronously(touch_batch.durable);
  touched bigint;
BEGIN
  WITH due AS MATERIALIZED (
    SELECT s.id
    FROM sessionsql.session AS s
    WHERE s.id = ANY (
        CASE
          WHEN EXISTS (
            SELECT FROM unnest(touch_batch.ids) AS t (id) WHERE NOT sessionsql.is_home(t.id)
          ) THEN sessionsql.elsewhere(touch_batch.ids)
          ELSE touch_batch.ids
        END
      )
      AND sessionsql.is_due(s.expires_at, s.idle_seconds, s.deadline)
    ORDER BY s.id
    FOR NO KEY UPDATE OF s SKIP LOCKED
  )
  UPDATE sessionsql.session AS s
  SET expires_at = GREATEST(s.expires_at, sessionsql.next_expiry(s.idle_seconds, s.deadline))
  FROM due AS d
  WHERE s.id = d.id
    AND sessionsql.is_due(s.expires_at, s.idle_seconds, s.deadline);

  GET DIAGNOSTICS touched = ROW_COUNT;
  RETURN touched;
END
$function$;

COMMENT ON FUNCTION sessionsql.touch_batch(bigint[], boolean) IS
  'Touches the sessions that are due and returns their number. Commits asynchronously unless durable.';
