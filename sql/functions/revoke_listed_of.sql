-- A router calls this for revoke_listed, because the two sessions may be on two shards: it has looked the
-- presented one up, and passes its subject. Whoever may call this may call revoke_subject as well.
--
-- Promises the same as revoke.
CREATE OR REPLACE FUNCTION sessionsql.revoke_listed_of(subject text, listed_id bigint)
RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  expiry timestamptz;
BEGIN
  PERFORM sessionsql.commit_synchronously();

  DELETE FROM sessionsql.session AS l
  WHERE l.id = sessionsql.at_home(revoke_listed_of.listed_id)
    AND l.subject = revoke_listed_of.subject COLLATE "default"
  RETURNING l.expires_at INTO expiry;

  IF FOUND THEN
    INSERT INTO sessionsql.change (ids) VALUES (ARRAY[revoke_listed_of.listed_id]);
  END IF;
  RETURN (expiry > clock_timestamp()) IS TRUE;
END
$function$;

COMMENT ON FUNCTION sessionsql.revoke_listed_of(text, bigint) IS
  'Revokes one session of a subject and returns whether it was alive. Commits synchronously.';
