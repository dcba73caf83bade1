-- A logout must survive a crash, even if the connection's default or an earlier call in the same transaction
-- has made the commit asynchronous. The default may be stronger than "on", so "on" replaces only a default of
-- "off".
--
-- A caller's own function with SET synchronous_commit undoes this setting before the commit, and nothing here
-- can prevent that.
CREATE OR REPLACE FUNCTION sessionsql.commit_synchronously()
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 10
SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
  IF current_setting('synchronous_commit') = 'off' THEN
    SET LOCAL synchronous_commit TO DEFAULT;
    IF current_setting('synchronous_commit') = 'off' THEN
      PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
  END IF;
END
$function$;

COMMENT ON FUNCTION sessionsql.commit_synchronously() IS 'Makes the commit of the transaction synchronous.';
