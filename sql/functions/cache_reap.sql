-- This is reap for cache entries. Its clock hand also keeps spaces within a budget of bytes: budgets[i] is
-- that of spaces[i]. The hand sums the bytes of these spaces as it goes round, and takes live entries of a
-- space that is over its budget; see evict. Calls without the arrays keep to the budgets as well, so that it
-- does not matter which program moves the hand. A budget lapses a day after the last call that named it. A
-- space may stand above its budget by what is set while the hand goes round.
--
-- Promises: those of reap. It evicts at most max_rows live rows too, and never a tombstone. Do not give a
-- budget to a space that holds sessions, because it would end live ones.
CREATE OR REPLACE FUNCTION sessionsql.cache_reap(
  max_rows integer DEFAULT 1000,
  max_pages integer DEFAULT 4096,
  durable boolean DEFAULT false,
  spaces integer[] DEFAULT NULL,
  budgets bigint[] DEFAULT NULL
)
RETURNS SETOF sessionsql.last_cache_reap
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 10000 ROWS 1
SET search_path = pg_catalog, pg_temp
-- These rule out a scan of the whole table, as in sweep.
SET enable_tidscan = on
SET enable_seqscan = off
AS $function$
DECLARE
  first_page bigint;
  end_page bigint;
  table_pages bigint;
  budgeted boolean;
  swept sessionsql.last_reap;
  result sessionsql.last_cache_reap;
BEGIN
  IF (cache_reap.max_rows > 0 AND cache_reap.max_pages > 0) IS NOT TRUE THEN
    RAISE invalid_parameter_value USING
      MESSAGE = 'sessionsql.cache_reap: max_rows and max_pages must be positive';
  END IF;
  IF cardinality(cache_reap.spaces) IS DISTINCT FROM cardinality(cache_reap.budgets)
    OR array_position(cache_reap.spaces, NULL) IS NOT NULL
    OR (0 < ALL (cache_reap.budgets)) IS FALSE
    OR array_position(cache_reap.budgets, NULL) IS NOT NULL
  THEN
    RAISE invalid_parameter_value USING
      MESSAGE = 'sessionsql.cache_reap: each space needs a budget, which must be positive';
  END IF;

  -- This is first, because the hand's lock counts as a write.
  PERFORM sessionsql.commit_asynchronously(cache_reap.durable);

  -- Nothing is written beside another reaper.
  PERFORM FROM sessionsql.cache_reaper AS r
  WHERE r.singleton
  FOR NO KEY UPDATE OF r SKIP LOCKED;
  IF NOT FOUND THEN
    RETURN;
  END IF;

  INSERT INTO sessionsql.cache_space AS b (space, max_bytes, asked_at)
  SELECT DISTINCT ON (g.space) g.space, g.budget, statement_timestamp()
  FROM unnest(cache_reap.spaces, cache_reap.budgets) AS g (space, budget)
  ORDER BY g.space, g.budget
  ON CONFLICT (space) DO UPDATE
  SET max_bytes = EXCLUDED.max_bytes,
      asked_at = EXCLUDED.asked_at;

  budgeted := EXISTS (SELECT FROM sessionsql.cache_space);

  result.reaped := 0;
  result.evicted := 0;
  result.pages := 0;
  LOOP
    table_pages :=
      pg_relation_size('sessionsql.cache_entry'::regclass) / current_setting('block_size')::bigint;
    SELECT CASE WHEN r.next_page < table_pages THEN r.next_page ELSE 0 END INTO first_page
    FROM sessionsql.cache_reaper AS r
    WHERE r.singleton;
    end_page := LEAST(first_page + cache_reap.max_pages - result.pages, table_pages);

    -- evict reads all of its range, whatever it then takes of it, so the range is short.
    IF budgeted AND end_page > first_page THEN
      SELECT result.evicted + v.evicted, v.next_page INTO result.evicted, end_page
      FROM sessionsql.evict(
        first_page, LEAST(end_page, first_page + 512), (cache_reap.max_rows - result.evicted)::integer
      ) AS v;
    END IF;

    swept := sessionsql.sweep(
      'sessionsql.cache_entry', 'key', 'sessionsql.cache_reaper',
      (cache_reap.max_rows - result.reaped)::integer, GREATEST(end_page - first_page, 1)::integer
    );
    result.reaped := result.reaped + swept.reaped;
    result.pages := result.pages + swept.pages;
    result.lap_done := swept.lap_done;

    IF budgeted THEN
      -- The entries of the pages that are behind the hand now count for the lap.
      SELECT CASE WHEN r.lap_done THEN first_page + swept.pages ELSE r.next_page END INTO end_page
      FROM sessionsql.cache_reaper AS r
      WHERE r.singleton;
      UPDATE sessionsql.cache_space AS b
      SET lap_bytes = b.lap_bytes + r.bytes
      FROM (
        SELECT
          e.space,
          sum(sessionsql.entry_bytes(e.value, e.plain_key))::double precision AS bytes
        FROM sessionsql.cache_entry AS e
        WHERE e.ctid >= ('(' || first_page || ',0)')::tid
          AND e.ctid < ('(' || end_page || ',0)')::tid
          AND e.value IS NOT NULL
          AND e.expires_at > statement_timestamp()
        GROUP BY e.space
      ) AS r
      WHERE r.space = b.space;
    END IF;

    EXIT WHEN NOT budgeted
      OR result.lap_done
      OR result.pages >= cache_reap.max_pages
      OR result.reaped >= cache_reap.max_rows
      OR result.evicted >= cache_reap.max_rows;
  END LOOP;

  IF result.lap_done THEN
    DELETE FROM sessionsql.cache_space AS b
    WHERE b.asked_at < statement_timestamp() - '1 day'::interval;
    UPDATE sessionsql.cache_space AS b
    SET last_lap_bytes = b.lap_bytes,
        lap_bytes = 0,
        lap_evicted_bytes = 0;
  END IF;
  UPDATE sessionsql.cache_reaper AS r
  SET reaped = result.reaped,
      evicted = result.evicted,
      pages = result.pages
  WHERE r.singleton;

  RETURN NEXT result;
END
$function$;

COMMENT ON FUNCTION sessionsql.cache_reap(integer, integer, boolean, integer[], bigint[]) IS
  'Deletes expired entries, and old ones of spaces over budget, from the next pages; returns counts.';
