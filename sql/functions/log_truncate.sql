-- This is the trigger that logs a TRUNCATE of sessions or cache entries. It runs as its owner, because a role
-- that may truncate the table may not write the log.
CREATE OR REPLACE FUNCTION sessionsql.log_truncate()
RETURNS trigger
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY DEFINER COST 100
SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
  INSERT INTO sessionsql.change (ids) VALUES (NULL);
  RETURN NULL;
END
$function$;

COMMENT ON FUNCTION sessionsql.log_truncate() IS 'Trigger: logs a TRUNCATE as a change of everything.';
