-- The cap behind insert's max_sessions: ends the oldest live sessions of a subject beyond max_sessions,
-- keep_id being one of those that stay; returns how many.
CREATE OR REPLACE FUNCTION sessionsql.evict_subject(
  subject text,
  max_sessions integer,
  keep_id bigint DEFAULT NULL
)
RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1000
SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
  RETURN sessionsql.end_excess(
    sessionsql.lock_excess(evict_subject.subject, evict_subject.max_sessions, evict_subject.keep_id)
  );
END
$function$;

COMMENT ON FUNCTION sessionsql.evict_subject(text, integer, bigint) IS
  'Ends the oldest live sessions of a subject beyond max_sessions, but for keep_id; returns how many.';
