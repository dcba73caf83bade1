-- Logout: deletes the live session that this id and secret hash open; returns whether there was one.
--
-- Promises: once it has returned true in a committed transaction, the session stays dead, also after a crash: the commit
-- waits for the disk even where the connection's default is not to. A setting stronger than the default is left alone.
CREATE OR REPLACE FUNCTION sessionsql.revoke(id bigint, secret_hash bytea)
RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
  IF current_setting('synchronous_commit') = 'off' THEN
    PERFORM set_config('synchronous_commit', 'on', true);
  END IF;

  DELETE FROM sessionsql.session AS s
  WHERE s.id = revoke.id
    AND sessionsql.opens(revoke.secret_hash, s.secret_hash, s.previous_hash, s.previous_until)
    AND s.expires_at > statement_timestamp();

  RETURN FOUND;
END
$function$;

COMMENT ON FUNCTION sessionsql.revoke(bigint, bytea) IS
  'Ends the session that this id and secret hash open; returns whether there was one. Commits synchronously.';
