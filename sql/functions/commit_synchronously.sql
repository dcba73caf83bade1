-- Has the commit of the caller's transaction wait for the disk, also where the connection's default, or an
-- asynchronous call before in the same transaction, says otherwise. After such a call it puts the
-- connection's default back, which may be stronger than "on"; a default that does not wait becomes "on".
--
-- A function of the caller's own with SET synchronous_commit ends that setting before the commit: nothing
-- here can mend it. Every name is qualified, so that it needs no SET clause, which each call would pay for.
CREATE OR REPLACE FUNCTION sessionsql.commit_synchronously()
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 10
AS $function$
BEGIN
  IF pg_catalog.current_setting('synchronous_commit') OPERATOR(pg_catalog.=) 'off' THEN
    SET LOCAL synchronous_commit TO DEFAULT;
    IF pg_catalog.current_setting('synchronous_commit') OPERATOR(pg_catalog.=) 'off' THEN
      PERFORM pg_catalog.set_config('synchronous_commit', 'on', true);
    END IF;
  END IF;
END
$function$;

COMMENT ON FUNCTION sessionsql.commit_synchronously() IS 'Has the transaction''s commit wait for the disk.';
