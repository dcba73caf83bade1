-- cache_reap takes this step for spaces over their budget, before it deletes what is expired. It holds the
-- hand's lock.
--
-- The bytes of a space are what the last lap left or, once it is more, what the hand has met in this lap, the
-- evicted and those of the range included. So each range loses the same share, and a lap takes what is over
-- the budget. In the range these are the entries that were written longest ago, be it by a set or a touch. So
-- this samples, as Redis does: an older entry may stand elsewhere.
--
-- Promises: never evicts a tombstone or an entry that was written in the meantime, and never waits for a row.
-- If more than max_rows would go, the range ends earlier. The result is the first page behind it.
CREATE OR REPLACE FUNCTION sessionsql.evict(
  first_page bigint,
  end_page bigint,
  max_rows integer,
  OUT evicted bigint,
  OUT next_page bigint
)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 10000
SET search_path = pg_catalog, pg_temp
-- These rule out a scan of the whole table, as in sweep.
SET enable_tidscan = on
SET enable_seqscan = off
SET enable_indexscan = on
SET enable_nestloop = on
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $function$
DECLARE
  over integer[];
  near uuid[];
  shares double precision[];
  expected double precision;
BEGIN
  evicted := 0;
  next_page := evict.end_page;

  SELECT
    array_agg(o.space),
    array_agg(o.share),
    sum(o.share * o.entries)
  INTO over, shares, expected
  FROM (
    SELECT
      b.space,
      r.entries,
      1 - b.max_bytes / GREATEST(
        b.last_lap_bytes,
        b.lap_bytes + b.lap_evicted_bytes + r.bytes
      ) AS share
    FROM sessionsql.cache_space AS b
    JOIN (
      SELECT
        e.space,
        count(*) AS entries,
        sum(sessionsql.entry_bytes(e.value, e.plain_key))::double precision AS bytes
      FROM sessionsql.cache_entry AS e
      WHERE e.ctid >= ('(' || evict.first_page || ',0)')::tid
        AND e.ctid < ('(' || evict.end_page || ',0)')::tid
        AND e.value IS NOT NULL
        AND e.expires_at > statement_timestamp()
      GROUP BY e.space
    ) AS r ON r.space = b.space
  ) AS o
  WHERE o.share > 0;
  IF over IS NULL THEN
    RETURN;
  END IF;

  IF expected > evict.max_rows THEN
    next_page := evict.first_page
      + GREATEST(floor((evict.end_page - evict.first_page) * evict.max_rows / expected)::bigint, 1);
  END IF;

  WITH aged AS MATERIALIZED (
    SELECT
      e.key,
      e.xmin AS written_by,
      s.share,
      sessionsql.entry_bytes(e.value, e.plain_key) AS bytes,
      e.space
    FROM sessionsql.cache_entry AS e
    JOIN unnest(over, shares) AS s (space, share) ON s.space = e.space
    WHERE e.ctid >= ('(' || evict.first_page || ',0)')::tid
      AND e.ctid < ('(' || next_page || ',0)')::tid
      AND e.value IS NOT NULL
      AND e.expires_at > statement_timestamp()
  ), oldest AS MATERIALIZED (
    SELECT r.key, r.written_by
    FROM (
      SELECT
        a.key,
        a.written_by,
        a.share * sum(a.bytes) OVER (PARTITION BY a.space) AS quota,
        sum(a.bytes) OVER (PARTITION BY a.space ORDER BY age(a.written_by) DESC, a.key) - a.bytes / 2
          AS reached
      FROM aged AS a
    ) AS r
    WHERE r.reached <= r.quota
    LIMIT evict.max_rows
  ), locked AS MATERIALIZED (
    SELECT e.key
    FROM oldest AS o
    JOIN sessionsql.cache_entry AS e ON e.key = o.key AND e.xmin = o.written_by
    FOR UPDATE OF e SKIP LOCKED
  ), deleted AS (
    DELETE FROM sessionsql.cache_entry AS e
    USING locked AS l
    WHERE e.key = l.key
      AND e.value IS NOT NULL
    RETURNING e.key, e.space, sessionsql.entry_bytes(e.value, e.plain_key) AS bytes
  ), counted AS (
    UPDATE sessionsql.cache_space AS b
    SET lap_evicted_bytes = b.lap_evicted_bytes + d.bytes
    FROM (SELECT d.space, sum(d.bytes) AS bytes FROM deleted AS d GROUP BY d.space) AS d
    WHERE d.space = b.space
  )
  SELECT
    count(*),
    array_agg(d.key) FILTER (WHERE d.key >= sessionsql.first_near_key())
  INTO evicted, near
  FROM deleted AS d;
  IF near IS NOT NULL THEN -- or a later cache_clear would not find their keys
    PERFORM sessionsql.log_entries(near);
  END IF;
END
$function$;

COMMENT ON FUNCTION sessionsql.evict(bigint, bigint, integer) IS
  'Evicts old entries of spaces over budget from a range of pages; returns counts and the range''s end.';
