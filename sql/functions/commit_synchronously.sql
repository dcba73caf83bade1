-- Has the commit of the caller's transaction wait for the disk, also where the connection's default, or an
-- asynchronous call before in the same transaction, says otherwise. After such a call it puts the
-- connection's default back, which may be stronger than "on"; a default that does not wait becomes "on".
--
-- A function of the caller's own with SET synchronous_commit ends that setting before the commit: nothing
-- here can mend it.
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

COMMENT ON FUNCTION sessionsql.commit_synchronously() IS 'Has the transaction''s commit wait for the disk.';
