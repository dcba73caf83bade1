-- cron cannot loop, so the loop is here. Each call of reap has its own transaction. The loop ends when the
-- hand has reached the end of the table twice, because the hand has then passed every page. It also ends when
-- another reaper is at work, and after max_calls.
--
-- It commits, so it cannot run in a transaction block. A procedure that commits may have no SET clause, so
-- every name below is qualified.
CREATE OR REPLACE PROCEDURE sessionsql.reap_all(max_calls integer DEFAULT 100)
LANGUAGE plpgsql SECURITY INVOKER
AS $procedure$
DECLARE
  call sessionsql.last_reap;
  laps integer := 0;
BEGIN
  IF (reap_all.max_calls OPERATOR(pg_catalog.>) 0) IS NOT TRUE THEN
    RAISE invalid_parameter_value USING MESSAGE = 'sessionsql.reap_all: max_calls must be positive';
  END IF;

  FOR i IN 1 .. reap_all.max_calls LOOP
    SELECT r.reaped, r.pages, r.lap_done INTO call
    FROM sessionsql.reap() AS r;
    EXIT WHEN NOT FOUND;
    COMMIT;
    IF call.lap_done THEN
      laps := laps OPERATOR(pg_catalog.+) 1;
      EXIT WHEN laps OPERATOR(pg_catalog.=) 2;
    END IF;
  END LOOP;
END
$procedure$;

COMMENT ON PROCEDURE sessionsql.reap_all(integer) IS
  'Calls reap until no expired session is left, one transaction per call. For cron.';
