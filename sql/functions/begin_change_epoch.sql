-- A reader drops all it keeps when the epoch changes, so it needs no row that was committed before, and a new
-- epoch starts with an empty log.
--
-- A prepared transaction survives a crash, but its row in the log does not. So no epoch begins while there is
-- one. Concurrent calls wait for each other, and one epoch remains.
CREATE OR REPLACE FUNCTION sessionsql.begin_change_epoch()
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1000
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  present CONSTANT text := sessionsql.change_life();
  horizon CONSTANT xid8 := pg_snapshot_xmin(pg_current_snapshot());
BEGIN
  IF EXISTS (SELECT FROM pg_prepared_xacts AS p WHERE p.database = current_database()) THEN
    RETURN;
  END IF;

  DELETE FROM sessionsql.change_epoch AS e
  WHERE e.life <> present;
  INSERT INTO sessionsql.change_epoch AS e (life, purged_before, next_purge)
  VALUES (present, horizon, horizon)
  ON CONFLICT DO NOTHING;
  IF FOUND THEN
    DELETE FROM sessionsql.change;
  END IF;
END
$function$;

COMMENT ON FUNCTION sessionsql.begin_change_epoch() IS
  'Begins an epoch of the change log, unless one is under way.';
