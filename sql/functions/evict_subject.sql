-- The cap behind insert's max_sessions: ends the oldest live sessions of a subject beyond the newest max_sessions; returns
-- how many. insert holds the subject's advisory lock, so that logins at the same moment count each other.
--
-- An eviction is a logout, so it makes the transaction commit synchronously; when there is none, nothing waits.
CREATE OR REPLACE FUNCTION sessionsql.evict_subject(subject text, max_sessions integer)
RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1000
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  evicted bigint;
BEGIN
  WITH excess AS MATERIALIZED (
    SELECT s.id
    FROM sessionsql.session AS s
    WHERE s.subject = evict_subject.subject
      AND s.expires_at > statement_timestamp()
    ORDER BY s.created_at DESC, s.id DESC
    OFFSET evict_subject.max_sessions
  ), locked AS MATERIALIZED (
    SELECT s.id
    FROM sessionsql.session AS s
    JOIN excess AS e ON e.id = s.id
    ORDER BY s.id
    FOR UPDATE OF s
  )
  DELETE FROM sessionsql.session AS s
  USING locked AS l
  WHERE s.id = l.id
    AND s.subject = evict_subject.subject;

  GET DIAGNOSTICS evicted = ROW_COUNT;
  IF evicted > 0 AND current_setting('synchronous_commit') = 'off' THEN
    PERFORM set_config('synchronous_commit', 'on', true);
  END IF;
  RETURN evicted;
END
$function$;

COMMENT ON FUNCTION sessionsql.evict_subject(text, integer) IS
  'Ends the oldest live sessions of a subject beyond max_sessions; returns how many. Called by insert.';
