-- Has the commit of the caller's transaction wait for the disk, also where the connection's default, or an
-- asynchronous call before in the same transaction, says otherwise. A setting stronger than the default is
-- left alone.
CREATE OR REPLACE FUNCTION sessionsql.commit_synchronously()
RETURNS text
LANGUAGE sql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1
BEGIN ATOMIC
  SELECT CASE
    WHEN current_setting('synchronous_commit') = 'off' THEN set_config('synchronous_commit', 'on', true)
  END;
END;

COMMENT ON FUNCTION sessionsql.commit_synchronously() IS 'Has the transaction''s commit wait for the disk.';
