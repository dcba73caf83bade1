-- cron cannot loop, so the loop is here. Each call of reap, with one of cache_reap, has its own transaction. The
-- loop ends when both hands have reached the end of their tables twice, because they have then passed every
-- page. A hand of another reaper counts as done. The loop also ends after max_calls.
--
-- It commits, so it cannot run in a transaction block. A procedure that commits may have no SET clause, so
-- every name below is qualified.
CREATE OR REPLACE PROCEDURE sessionsql.reap_all(max_calls integer DEFAULT 100)
LANGUAGE plpgsql SECURITY INVOKER
AS $procedure$
DECLARE
  laps integer := 0;
  cache_laps integer := 0;
  lap_done boolean;
BEGIN
  IF (reap_all.max_calls OPERATOR(pg_catalog.>) 0) IS NOT TRUE THEN
    RAISE invalid_parameter_value USING MESSAGE = 'sessionsql.reap_all: max_calls must be positive';
  END IF;

  FOR i IN 1 .. reap_all.max_calls LOOP
    IF laps OPERATOR(pg_catalog.<) 2 THEN
      SELECT r.lap_done INTO lap_done
      FROM sessionsql.reap() AS r;
      laps := laps OPERATOR(pg_catalog.+) CASE WHEN lap_done THEN 1 WHEN lap_done IS NULL THEN 2 ELSE 0 END;
    END IF;
    IF cache_laps OPERATOR(pg_catalog.<) 2 THEN
      SELECT r.lap_done INTO lap_done
      FROM sessionsql.cache_reap() AS r;
      cache_laps := cache_laps OPERATOR(pg_catalog.+) CASE WHEN lap_done THEN 1 WHEN lap_done IS NULL THEN 2 ELSE 0 END;
    END IF;
    COMMIT;
    EXIT WHEN laps OPERATOR(pg_catalog.>=) 2 AND cache_laps OPERATOR(pg_catalog.>=) 2;
  END LOOP;
END
$procedure$;

COMMENT ON PROCEDURE sessionsql.reap_all(integer) IS
  'Calls reap and cache_reap until nothing expired is left, one transaction per call. For cron.';
