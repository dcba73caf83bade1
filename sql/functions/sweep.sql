-- This is the clock hand of reap and cache_reap, which state its promises. It takes the names of a table, of the
-- column of its key, and of the table with the hand's position. Null means that another reaper is at work.
CREATE OR REPLACE FUNCTION sessionsql.sweep(
  swept regclass,
  key name,
  hand regclass,
  max_rows integer,
  max_pages integer
)
RETURNS sessionsql.last_reap
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 10000
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
  EXECUTE format(
    'SELECT r.next_page FROM %s AS r WHERE r.singleton FOR NO KEY UPDATE OF r SKIP LOCKED', sweep.hand
  ) INTO first_page;
  IF first_page IS NULL THEN
    RETURN NULL;
  END IF;

  table_pages := pg_relation_size(sweep.swept) / current_setting('block_size')::bigint;
  IF first_page >= table_pages THEN
    first_page := 0;
  END IF;
  end_page := LEAST(first_page + sweep.max_pages, table_pages);

  -- Rows are locked in the order of the scan, because sorting by key would have to find every expired row of
  -- the range first. No order can deadlock, because nothing here waits. The DELETE finds its rows by key,
  -- because a row that has moved has another ctid.
  EXECUTE format(
    $statement$
    WITH expired AS MATERIALIZED (
      SELECT s.%2$I AS key, s.ctid
      FROM %1$s AS s
      WHERE s.ctid >= $1
        AND s.ctid < $2
        AND s.expires_at <= statement_timestamp()
      LIMIT $3
      FOR UPDATE OF s SKIP LOCKED
    ), deleted AS (
      DELETE FROM %1$s AS s
      USING expired AS e
      WHERE s.%2$I = e.key
        AND s.expires_at <= statement_timestamp()
      RETURNING s.expires_at
    )
    SELECT
      (SELECT count(*) FROM expired AS e),
      (SELECT max(e.ctid) FROM expired AS e),
      count(*),
      min(d.expires_at)
    FROM deleted AS d
    $statement$,
    sweep.swept,
    sweep.key
  )
  INTO found_rows, last_tid, result.reaped, oldest
  USING ('(' || first_page || ',0)')::tid, ('(' || end_page || ',0)')::tid, sweep.max_rows;

  -- The scan stopped at max_rows. The page of the last row may hold more, so the next call starts there.
  IF found_rows >= sweep.max_rows THEN
    end_page := LEAST(end_page, split_part(ltrim(last_tid::text, '('), ',', 1)::bigint + 1);
    result.pages := end_page - first_page;
    end_page := end_page - 1;
  ELSE
    result.pages := end_page - first_page;
  END IF;
  result.lap_done := end_page >= table_pages;

  EXECUTE format(
    $statement$
    UPDATE %s AS r
    SET next_page = CASE WHEN $3 THEN 0 ELSE $4 END,
        reaped = $1,
        pages = $2,
        lap_done = $3,
        oldest_expired = CASE WHEN $3 THEN NULL ELSE LEAST(r.oldest_expired, $5) END,
        last_lap_oldest_expired =
          CASE WHEN $3 THEN LEAST(r.oldest_expired, $5) ELSE r.last_lap_oldest_expired END,
        last_lap_ended_at = CASE WHEN $3 THEN statement_timestamp() ELSE r.last_lap_ended_at END
    WHERE r.singleton
    $statement$,
    sweep.hand
  )
  USING result.reaped, result.pages, result.lap_done, end_page, oldest;
  RETURN result;
END
$function$;

COMMENT ON FUNCTION sessionsql.sweep(regclass, name, regclass, integer, integer) IS
  'Deletes expired rows of a table from the next pages; returns counts, or null beside another reaper.';
