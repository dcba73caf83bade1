-- Deletes expired rows: a clock hand that walks the table by ranges of pages, so that a call costs the same
-- on a table of any size and needs no index on expires_at. Returns one row; no row = another reaper is at
-- work, and there is nothing to do. Call it again while it finds work; that, and not a higher limit, is how
-- it keeps up with any rate.
--
-- Promises: deletes at most max_rows rows, reads at most max_pages pages of the table in search of them,
-- never waits for a row, never deletes a session that somebody kept alive in the meantime. A row that is
-- locked is left for the next lap.
--
-- Commits asynchronously unless durable, as insert does: a crash brings back rows that are expired all the
-- same.
CREATE OR REPLACE FUNCTION sessionsql.reap(
  max_rows integer DEFAULT 1000,
  max_pages integer DEFAULT 4096,
  durable boolean DEFAULT false
)
RETURNS SETOF sessionsql.last_reap
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 10000 ROWS 1
SET search_path = pg_catalog, pg_temp
-- The bound in pages is a Tid Range Scan's. Without statistics, or with a connection's own settings, the
-- planner may think a scan of the whole table cheaper; here it must not.
SET enable_tidscan = on
SET enable_seqscan = off
SET enable_indexscan = on
SET enable_nestloop = on
AS $function$
DECLARE
  first_page bigint;
  end_page bigint;
  table_pages bigint;
  found_rows bigint;
  last_tid tid;
  oldest timestamptz;
  result sessionsql.last_reap;
BEGIN
  IF (reap.max_rows > 0 AND reap.max_pages > 0) IS NOT TRUE THEN
    RAISE invalid_parameter_value USING MESSAGE = 'sessionsql.reap: max_rows and max_pages must be positive';
  END IF;

  -- First, because the lock below counts as a write.
  PERFORM sessionsql.commit_asynchronously(reap.durable);

  SELECT r.next_page INTO first_page
  FROM sessionsql.reaper AS r
  WHERE r.singleton
  FOR NO KEY UPDATE OF r SKIP LOCKED;
  IF NOT FOUND THEN
    RETURN;
  END IF;

  table_pages := pg_relation_size('sessionsql.session'::regclass) / current_setting('block_size')::bigint;
  IF first_page >= table_pages THEN
    first_page := 0;
  END IF;
  end_page := LEAST(first_page + reap.max_pages, table_pages);

  -- Locked in the order of the scan and not of the ids: sorting would have to find every expired row of the
  -- range first, and since nothing here waits, no order can deadlock. The outer DELETE finds its rows by id,
  -- because by ctid it would miss or mistake a row that moved.
  WITH expired AS MATERIALIZED (
    SELECT s.id, s.ctid
    FROM sessionsql.session AS s
    WHERE s.ctid >= ('(' || first_page || ',0)')::tid
      AND s.ctid < ('(' || end_page || ',0)')::tid
      AND s.expires_at <= statement_timestamp()
    LIMIT reap.max_rows
    FOR UPDATE OF s SKIP LOCKED
  ), deleted AS (
    DELETE FROM sessionsql.session AS s
    USING expired AS e
    WHERE s.id = e.id
      AND s.expires_at <= statement_timestamp()
    RETURNING s.expires_at
  )
  SELECT
    (SELECT count(*) FROM expired AS e),
    (SELECT max(e.ctid) FROM expired AS e),
    count(*),
    min(d.expires_at)
  INTO found_rows, last_tid, result.reaped, oldest
  FROM deleted AS d;

  -- Stopped by max_rows: go on from the page of the last row, which may hold more.
  IF found_rows >= reap.max_rows THEN
    end_page := LEAST(end_page, split_part(ltrim(last_tid::text, '('), ',', 1)::bigint + 1);
    result.pages := end_page - first_page;
    end_page := end_page - 1;
  ELSE
    result.pages := end_page - first_page;
  END IF;
  result.lap_done := end_page >= table_pages;

  UPDATE sessionsql.reaper AS r
  SET next_page = CASE WHEN result.lap_done THEN 0 ELSE end_page END,
      reaped = result.reaped,
      pages = result.pages,
      lap_done = result.lap_done,
      oldest_expired = CASE WHEN result.lap_done THEN NULL ELSE LEAST(r.oldest_expired, oldest) END,
      last_lap_oldest_expired =
        CASE WHEN result.lap_done THEN LEAST(r.oldest_expired, oldest) ELSE r.last_lap_oldest_expired END,
      last_lap_ended_at = CASE WHEN result.lap_done THEN statement_timestamp() ELSE r.last_lap_ended_at END
  WHERE r.singleton;

  RETURN NEXT result;
END
$function$;

COMMENT ON FUNCTION sessionsql.reap(integer, integer, boolean) IS
  'Deletes expired sessions from the next range of pages; no row when another reaper is at work.';
