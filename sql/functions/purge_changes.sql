-- reap calls this, so that one call runs at a time. A row stays for two minutes at least, because a reader
-- that comes later than that has to forget all sessions: the rows of transactions that its snapshot does not
-- include may be gone. A transaction that is open holds back the purge of all later ones.
--
-- A call deletes 100,000 rows at most, so that it takes a fraction of a second.
CREATE OR REPLACE FUNCTION sessionsql.purge_changes()
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1000
SET search_path = pg_catalog, pg_temp
-- See changes.
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $function$
DECLARE
  horizon xid8;
BEGIN
  PERFORM sessionsql.begin_change_epoch();

  UPDATE sessionsql.change_epoch AS e
  SET purged_before = e.next_purge,
      next_purge = pg_snapshot_xmin(pg_current_snapshot()),
      next_purge_noted_at = clock_timestamp()
  WHERE e.singleton
    AND e.next_purge_noted_at NOT BETWEEN clock_timestamp() - interval '2 minutes' AND clock_timestamp()
    AND e.life = sessionsql.change_life();

  SELECT e.purged_before INTO horizon
  FROM sessionsql.change_epoch AS e
  WHERE e.singleton
    AND e.life = sessionsql.change_life();

  DELETE FROM sessionsql.change AS c
  WHERE c.ctid = ANY (
    ARRAY(
      SELECT o.ctid
      FROM sessionsql.change AS o
      WHERE o.xid < horizon
      ORDER BY o.xid
      LIMIT 100000
    )
  );
END
$function$;

COMMENT ON FUNCTION sessionsql.purge_changes() IS
  'Deletes rows of the change log that every reader of the last two minutes has seen.';
