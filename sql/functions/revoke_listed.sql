-- A user ends one session out of their list (OWASP ASVS 5.0, 7.5.2). The caller presents a live session of
-- the same subject, because an id alone proves nothing.
--
-- Promises the same as revoke. The listed row is locked before the presented session is judged, so a
-- presented session that was revoked during the wait ends no other.
CREATE OR REPLACE FUNCTION sessionsql.revoke_listed(id bigint, secret_hash bytea, listed_id bigint)
RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  expiry timestamptz;
BEGIN
  PERFORM sessionsql.commit_synchronously();

  PERFORM 1
  FROM sessionsql.session AS l
  JOIN sessionsql.session AS s ON s.subject = l.subject
  WHERE l.id = sessionsql.at_home(revoke_listed.listed_id)
    AND s.id = sessionsql.at_home(revoke_listed.id)
    AND s.id <> l.id
    AND sessionsql.opens_at(
      revoke_listed.secret_hash, s.secret_hash, s.previous_hash, s.previous_until, clock_timestamp()
    )
  FOR UPDATE OF l;

  DELETE FROM sessionsql.session AS l
  USING sessionsql.session AS s
  WHERE l.id = revoke_listed.listed_id
    AND s.id = revoke_listed.id
    AND s.id <> l.id
    AND s.subject = l.subject
    AND sessionsql.opens_at(
      revoke_listed.secret_hash, s.secret_hash, s.previous_hash, s.previous_until, clock_timestamp()
    )
    AND s.expires_at > clock_timestamp()
  RETURNING l.expires_at INTO expiry;

  IF FOUND THEN
    INSERT INTO sessionsql.change (ids) VALUES (ARRAY[revoke_listed.listed_id]);
  END IF;
  RETURN (expiry > clock_timestamp()) IS TRUE;
END
$function$;

COMMENT ON FUNCTION sessionsql.revoke_listed(bigint, bytea, bigint) IS
  'Revokes another session of the same subject; returns whether it was alive. Commits synchronously.';
