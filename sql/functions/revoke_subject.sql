-- Logs a user out everywhere: deletes the sessions of a subject, but for keep_id; returns how many live ones ended.
--
-- Promises: every session of the subject that was committed before the call is dead when its transaction commits, also
-- after a crash. Unlike the other statements over many rows it waits for locked ones instead of leaving them out, or a
-- session that is just being kept alive would survive; it takes them in id order, and what holds them never waits for
-- another row, so it cannot deadlock with any function of this bundle.
CREATE OR REPLACE FUNCTION sessionsql.revoke_subject(subject text, keep_id bigint DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1000
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  revoked bigint;
BEGIN
  IF current_setting('synchronous_commit') = 'off' THEN
    PERFORM set_config('synchronous_commit', 'on', true);
  END IF;

  WITH owned AS MATERIALIZED (
    SELECT s.id
    FROM sessionsql.session AS s
    WHERE s.subject = revoke_subject.subject
      AND s.id IS DISTINCT FROM revoke_subject.keep_id
    ORDER BY s.id
    FOR UPDATE OF s
  ), deleted AS (
    DELETE FROM sessionsql.session AS s
    USING owned AS o
    WHERE s.id = o.id
      AND s.subject = revoke_subject.subject
    RETURNING s.expires_at
  )
  SELECT count(*) INTO revoked
  FROM deleted AS d
  WHERE d.expires_at > statement_timestamp();

  RETURN revoked;
END
$function$;

COMMENT ON FUNCTION sessionsql.revoke_subject(text, bigint) IS
  'Ends all sessions of a subject, but for keep_id; returns how many were alive. Commits synchronously.';
