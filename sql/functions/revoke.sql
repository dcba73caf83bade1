-- revoke is the logout of one session. Promises: once the transaction has committed, the session stays dead,
-- even after a crash, because the commit waits for the disk even if the connection's default does not. An
-- expired session is deleted too, and the result is false.
CREATE OR REPLACE FUNCTION sessionsql.revoke(id bigint, secret_hash bytea)
RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  expiry timestamptz;
  grace_end timestamptz;
BEGIN
  -- The call would take a fifth of the time of this function, and most callers commit synchronously anyway.
  IF current_setting('synchronous_commit') = 'off' THEN
    PERFORM sessionsql.commit_synchronously();
  END IF;

  DELETE FROM sessionsql.session AS s
  WHERE s.id = sessionsql.at_home(revoke.id)
    AND s.secret_hash = revoke.secret_hash
  RETURNING s.expires_at INTO expiry;

  IF NOT FOUND THEN
    -- The row is locked before it is judged, because the previous secret's grace may end during the wait.
    SELECT
      s.expires_at,
      s.previous_until
    INTO expiry, grace_end
    FROM sessionsql.session AS s
    WHERE s.id = sessionsql.at_home(revoke.id)
      AND s.previous_hash = revoke.secret_hash
    FOR UPDATE OF s;
    IF (grace_end > clock_timestamp()) IS NOT TRUE THEN
      RETURN false;
    END IF;
    DELETE FROM sessionsql.session AS s
    WHERE s.id = revoke.id;
  END IF;

  INSERT INTO sessionsql.change (ids) VALUES (ARRAY[revoke.id]);
  RETURN expiry > clock_timestamp();
END
$function$;

COMMENT ON FUNCTION sessionsql.revoke(bigint, bytea) IS
  'Revokes a session and returns whether it was alive. Commits synchronously.';
