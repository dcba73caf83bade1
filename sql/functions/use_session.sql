-- This is find_session and touch_batch in one call, for clients that have only SQL. A web page calls it once
-- per request. It writes only if the session is due for a touch, so at most once every third of the idle
-- timeout.
--
-- Promises: never waits for a row, because touch_batch skips locked rows. On a replica and in a read-only
-- transaction, it finds the session and does not touch it.
CREATE OR REPLACE FUNCTION sessionsql.use_session(token text, durable boolean DEFAULT false)
RETURNS SETOF sessionsql.live_session
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100 ROWS 1
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  presented_id CONSTANT bigint := sessionsql.token_id(use_session.token);
  presented_hash CONSTANT bytea := sessionsql.token_hash(use_session.token);
BEGIN
  IF NOT current_setting('transaction_read_only')::boolean AND EXISTS (
    SELECT
    FROM sessionsql.session AS s
    WHERE s.id = presented_id
      AND sessionsql.opens(presented_hash, s.secret_hash, s.previous_hash, s.previous_until)
      AND sessionsql.is_due(s.expires_at, s.idle_seconds, s.deadline)
  ) THEN
    PERFORM sessionsql.touch_batch(ARRAY[presented_id], use_session.durable);
  END IF;

  RETURN QUERY
    SELECT
      o.id,
      o.payload,
      o.version,
      o.subject,
      o.expires_in
    FROM sessionsql.open_session(presented_id, presented_hash) AS o;
END
$function$;

COMMENT ON FUNCTION sessionsql.use_session(text, boolean) IS
  'Touches a token''s live session and returns it, or no row. Commits asynchronously unless durable.';
