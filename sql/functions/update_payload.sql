-- One result tells three outcomes apart: the new version, 1 or more; 0 (a conflict) if another writer was
-- first, so that the session has another version than expected_version; -1 if there is no such live session.
--
-- Promises: never resurrects a session. It never inserts, so a late save after a logout finds no row. The row
-- is locked before it is judged, so a session that expired during the wait stays dead. A write is a use, so
-- it extends the expiry, and a touch that skipped the locked row loses nothing.
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
  -- An assignment is faster than PERFORM here; see insert.
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
  WHERE s.id = sessionsql.at_home(update_payload.id)
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
  INSERT INTO sessionsql.change (ids) VALUES (ARRAY[update_payload.id]);
  RETURN locked.version + 1;
END
$function$;

COMMENT ON FUNCTION sessionsql.update_payload(bigint, bytea, text, integer, boolean) IS
  'Writes a payload; returns its version, 0 (conflict), -1 (gone). Commits asynchronously unless durable.';
