-- revoke is the logout of one session. Promises: once the transaction has committed, the session stays dead,
-- even after a crash, because the commit waits for the disk even if the connection's default does not. An
-- expired session is deleted too, and the result is false.
CREATE OR REPLACE FUNCTION sessionsql.revoke(id bigint, secret_hash bytea)
RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  locked record;
BEGIN
  PERFORM sessionsql.commit_synchronously();

  -- The row is locked before it is judged, because the grace of an old secret may end during the wait.
  SELECT
    s.expires_at,
    s.secret_hash,
    s.previous_hash,
    s.previous_until
  INTO locked
  FROM sessionsql.session AS s
  WHERE s.id = revoke.id
    AND sessionsql.opens_at(
      revoke.secret_hash, s.secret_hash, s.previous_hash, s.previous_until, clock_timestamp()
    )
  FOR UPDATE OF s;
  IF NOT FOUND
    OR sessionsql.opens_at(
      revoke.secret_hash, locked.secret_hash, locked.previous_hash, locked.previous_until, clock_timestamp()
    ) IS NOT TRUE
  THEN
    RETURN false;
  END IF;

  DELETE FROM sessionsql.session AS s
  WHERE s.id = revoke.id;
  INSERT INTO sessionsql.change (ids) VALUES (ARRAY[revoke.id]);
  RETURN locked.expires_at > clock_timestamp();
END
$function$;

COMMENT ON FUNCTION sessionsql.revoke(bigint, bytea) IS
  'Revokes a session and returns whether it was alive. Commits synchronously.';
