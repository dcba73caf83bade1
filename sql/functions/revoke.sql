-- Logout: deletes the session that this id and secret hash open; returns whether it was alive.
--
-- Promises: once it has returned true in a committed transaction, the session stays dead, also after a crash:
-- the commit waits for the disk even where the connection's default is not to. An expired session goes as
-- well, whoever may be about to keep it alive.
CREATE OR REPLACE FUNCTION sessionsql.revoke(id bigint, secret_hash bytea)
RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  locked record;
BEGIN
  PERFORM sessionsql.commit_synchronously();

  -- Locked before it is judged: the grace of an old secret may end while this waits for the row.
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
  RETURN locked.expires_at > clock_timestamp();
END
$function$;

COMMENT ON FUNCTION sessionsql.revoke(bigint, bytea) IS
  'Ends the session that this id and secret hash open; returns whether it was alive. Commits synchronously.';
