-- A program that keeps sessions and cache entries in memory calls this several times a second on the primary,
-- and forgets those that it returns. It gives the snapshot of its last call, and null at first.
--
-- Promises: each change is returned exactly once, to the first call that begins after its commit. One
-- statement reads the rows and the snapshot, so the rows that it does not see are those of the transactions
-- that the next call finds outside of this snapshot. Numbers of transactions or of a sequence would lose
-- changes, because transactions commit in another order.
--
-- If the epoch is another than that of the last call, changes may be lost, and the caller forgets
-- all. No row means that the caller forgets all and that no epoch is under way; this call has then begun
-- one, if it could.
--
-- Call it outside of a transaction that writes, because a snapshot does not tell whether it includes the
-- transaction that took it.
CREATE OR REPLACE FUNCTION sessionsql.changes(last pg_snapshot)
RETURNS SETOF sessionsql.change_feed
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1000 ROWS 1
SET search_path = pg_catalog, pg_temp
-- The log has no statistics, and a scan of all of it would take longer than a look at its end.
SET enable_seqscan = off
-- Planning or compiling the query anew would take longer than the query.
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $function$
BEGIN
  RETURN QUERY
  WITH missed AS MATERIALIZED (
    -- Together these are the transactions that pg_visible_in_snapshot(c.xid, last) denies. A transaction that
    -- stays open for long thus makes no call read the changes since its begin.
    SELECT c.ids, c.keys
    FROM sessionsql.change AS c
    WHERE c.xid >= pg_snapshot_xmax(changes.last)
    UNION ALL
    SELECT c.ids, c.keys
    FROM sessionsql.change AS c
    WHERE c.xid = ANY (ARRAY(SELECT pg_snapshot_xip(changes.last)))
  )
  SELECT
    e.epoch::text,
    pg_current_snapshot()::text,
    EXISTS (SELECT FROM missed AS m WHERE m.ids IS NULL AND m.keys IS NULL)
      OR COALESCE(pg_snapshot_xmin(changes.last) < e.purged_before, false),
    ARRAY(
      SELECT u.id
      FROM missed AS m
      CROSS JOIN unnest(m.ids) AS u (id)
      WHERE u.id IS NOT NULL
    )::sessionsql.id_list,
    ARRAY(SELECT u.key FROM missed AS m CROSS JOIN unnest(m.keys) AS u (key))::sessionsql.key_list
  FROM sessionsql.change_epoch AS e
  WHERE e.singleton
    AND e.life = sessionsql.change_life();

  IF NOT FOUND THEN
    PERFORM sessionsql.begin_change_epoch();
  END IF;
END
$function$;

COMMENT ON FUNCTION sessionsql.changes(pg_snapshot) IS
  'Returns what has changed since a snapshot, and the snapshot for the next call; or no row.';
