-- Logs a user out everywhere: deletes the sessions of a subject, but for keep_id; returns how many live ones
-- ended.
--
-- Promises: every session of the subject that was committed before the call is dead when its transaction
-- commits, also after a crash. Unlike the other statements over many rows it waits for locked ones instead of
-- leaving them out, or a session that is just being kept alive would survive; it takes them in id order, and
-- what holds them never waits for another row, so it cannot deadlock with any function of this bundle.
--
-- No plan may find the rows otherwise than by an index, and delete them otherwise than by their ids: by their
-- subject, each would be compared with every other.
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
    RETURNING s.expires_at
  )
  SELECT count(*) INTO revoked
  FROM deleted AS d
  WHERE d.expires_at > clock_timestamp();

  RETURN revoked;
END
$function$;

COMMENT ON FUNCTION sessionsql.revoke_subject(text, bigint) IS
  'Ends all sessions of a subject, but for keep_id; returns how many were alive. Commits synchronously.';
