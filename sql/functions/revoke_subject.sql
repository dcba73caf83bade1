-- revoke_subject is the logout everywhere. Promises: once the transaction has committed, every session of the
-- subject that was committed before the call, except keep_id, stays dead, even after a crash.
--
-- It waits for locked rows instead of skipping them, because a session that is being touched must not
-- survive. It takes them in id order, and their holders never wait for another row, so it cannot deadlock
-- with any function of this bundle.
--
-- Sequential scans are off, as in end_excess. The DELETE takes ids, because a join by subject would compare
-- each row with every other.
CREATE OR REPLACE FUNCTION sessionsql.revoke_subject(subject text, keep_id bigint DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1000
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
AS $function$
DECLARE
  ids bigint[];
  revoked bigint;
BEGIN
  PERFORM sessionsql.commit_synchronously();

  SELECT array_agg(l.id) INTO ids
  FROM (
    SELECT s.id
    FROM sessionsql.session AS s
    WHERE s.subject = revoke_subject.subject COLLATE "default"
      AND s.id IS DISTINCT FROM revoke_subject.keep_id
    ORDER BY s.id
    FOR UPDATE OF s
  ) AS l;

  WITH deleted AS (
    DELETE FROM sessionsql.session AS s
    WHERE s.id = ANY (ids)
    RETURNING s.id, s.expires_at
  )
  SELECT count(*) INTO revoked
  FROM deleted AS d
  WHERE d.expires_at > clock_timestamp()
    AND sessionsql.is_home(d.id);

  IF ids IS NOT NULL THEN
    INSERT INTO sessionsql.change (ids) VALUES (ids);
  END IF;

  RETURN revoked;
END
$function$;

COMMENT ON FUNCTION sessionsql.revoke_subject(text, bigint) IS
  'Revokes a subject''s sessions except keep_id; returns the number alive. Commits synchronously.';
