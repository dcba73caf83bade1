-- Writes a live session's payload. Returns the new version, which is 1 or more; 0 when expected_version is
-- given and the session has another one by now (a conflict: somebody else wrote); -1 when there is no such
-- live session. One round trip tells the three apart.
--
-- Promises: never resurrects. It never inserts, so a late save after a logout finds no row; and it locks the
-- row before it judges it, so a session that expired while the call waited for the row stays dead. A write is
-- a use, so it slides the expiry as well; the row is rewritten anyway, and a touch that skipped this row
-- while it was locked loses nothing.
--
-- Commits asynchronously unless durable, as insert does.
CREATE OR REPLACE FUNCTION sessionsql.update_payload(
  id bigint,
  secret_hash bytea,
  payload text,
  expected_version integer DEFAULT NULL,
  durable boolean DEFAULT false
)
RETURNS integer
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  -- Assigned and not performed, as in insert.
  asynchronous CONSTANT text := sessionsql.commit_asynchronously(update_payload.durable);
  locked record;
BEGIN
  IF update_payload.payload IS NULL THEN
    RAISE null_value_not_allowed USING MESSAGE = 'sessionsql.update_payload: payload must not be null';
  END IF;

  SELECT
    s.version,
    s.expires_at,
    s.secret_hash,
    s.previous_hash,
    s.previous_until
  INTO locked
  FROM sessionsql.session AS s
  WHERE s.id = update_payload.id
    AND sessionsql.opens_at(
      update_payload.secret_hash, s.secret_hash, s.previous_hash, s.previous_until, clock_timestamp()
    )
  FOR NO KEY UPDATE OF s;

  IF NOT FOUND
    OR locked.expires_at <= clock_timestamp()
    OR sessionsql.opens_at(
      update_payload.secret_hash, locked.secret_hash, locked.previous_hash, locked.previous_until,
      clock_timestamp()
    ) IS NOT TRUE
  THEN
    RETURN -1;
  ELSIF locked.version <> update_payload.expected_version THEN
    RETURN 0;
  END IF;

  UPDATE sessionsql.session AS s
  SET payload = update_payload.payload,
      version = s.version + 1,
      expires_at = GREATEST(s.expires_at, sessionsql.next_expiry(s.idle_seconds, s.deadline))
  WHERE s.id = update_payload.id;
  RETURN locked.version + 1;
END
$function$;

COMMENT ON FUNCTION sessionsql.update_payload(bigint, bytea, text, integer, boolean) IS
  'Writes the payload. Returns the new version, 0 on a conflict, -1 when there is no such live session.';
