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
  expiry timestamptz;
BEGIN
  PERFORM sessionsql.commit_synchronously();

  DELETE FROM sessionsql.session AS s
  WHERE s.id = revoke.id
    AND sessionsql.opens_at(
      revoke.secret_hash, s.secret_hash, s.previous_hash, s.previous_until, clock_timestamp()
    )
  RETURNING s.expires_at INTO expiry;

  RETURN (expiry > clock_timestamp()) IS TRUE;
END
$function$;

COMMENT ON FUNCTION sessionsql.revoke(bigint, bytea) IS
  'Ends the session that this id and secret hash open; returns whether it was alive. Commits synchronously.';
