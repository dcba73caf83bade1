-- Slides the expiry of many sessions; returns how many were extended.
--
-- Promises: never shortens, never passes a deadline, never resurrects, writes nothing where more than the
-- idle timeout is left, and never waits for a row, so it cannot deadlock with anything under any plan. A row
-- that another transaction has locked is left out: whoever holds it is a touch, a payload write or a rotate
-- (which slide the expiry themselves) or is deleting it.
--
-- Ids alone, no hashes: the caller has looked these sessions up, and sliding gives nobody access. Commits
-- asynchronously unless durable, as insert does: a crash loses at most the last moments of sliding, which the
-- next touch restores.
CREATE OR REPLACE FUNCTION sessionsql.touch_batch(ids bigint[], durable boolean DEFAULT false)
RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1000
SET search_path = pg_catalog, pg_temp
-- One plan for batches of any length; see lookup_batch.
SET plan_cache_mode = force_generic_plan
AS $function$
DECLARE
  -- Assigned and not performed, as in insert.
  asynchronous CONSTANT text := sessionsql.commit_asynchronously(touch_batch.durable);
  touched bigint;
BEGIN
  WITH due AS MATERIALIZED (
    SELECT s.id
    FROM sessionsql.session AS s
    WHERE s.id = ANY (touch_batch.ids)
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
  'Slides the expiry of the sessions that are due for it; returns how many were extended.';
