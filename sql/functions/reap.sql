-- A clock hand walks the table by ranges of pages, so that a call costs the same on a table of any size and
-- expires_at needs no index. A call returns no row if another reaper is at work. To keep up with any rate,
-- call it again while it finds work, instead of raising max_rows.
--
-- Promises: deletes at most max_rows rows, reads at most max_pages pages to find them, never waits for a row,
-- and never deletes a session that was extended in the meantime. A locked row is left for the next lap.
--
-- Commits asynchronously unless durable, because the rows that a crash brings back are expired anyway.
CREATE OR REPLACE FUNCTION sessionsql.reap(
  max_rows integer DEFAULT 1000,
  max_pages integer DEFAULT 4096,
  durable boolean DEFAULT false
)
RETURNS SETOF sessionsql.last_reap
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 10000 ROWS 1
SET search_path = pg_catalog, pg_temp
-- A Tid Range Scan enforces the bound in pages. Without statistics, or under a connection's own settings, the
-- planner may prefer a scan of the whole table, so these settings rule that out.
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

  -- This is first, because the lock below counts as a write.
  PERFORM sessionsql.commit_asynchronously(reap.durable);

  SELECT r.next_page INTO first_page
  FROM sessionsql.reaper AS r
  WHERE r.singleton
  FOR NO KEY UPDATE OF r SKIP LOCKED;
  IF NOT FOUND THEN
    RETURN;
  END IF;

  PERFORM sessionsql.purge_changes();

  table_pages := pg_relation_size('sessionsql.session'::regclass) / current_setting('block_size')::bigint;
  IF first_page >= table_pages THEN
    first_page := 0;
  END IF;
  end_page := LEAST(first_page + reap.max_pages, table_pages);

  -- Rows are locked in the order of the scan, because sorting by id would have to find every expired row of
  -- the range first. No order can deadlock, because nothing here waits. The DELETE finds its rows by id,
  -- because a row that has moved has another ctid.
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

  -- The scan stopped at max_rows. The page of the last row may hold more, so the next call starts there.
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
  'Deletes expired sessions from the next pages; returns counts. Commits asynchronously unless durable.';
