-- insert takes both steps of max_sessions with this call. keep_id is the session that it has just made.
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
  'Evicts a subject''s oldest live sessions beyond max_sessions, never keep_id; returns their number.';
