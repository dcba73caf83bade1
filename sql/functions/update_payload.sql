-- Writes a live session's payload. Returns the new version, which is 1 or more; 0 when expected_version is given and the
-- session has another one by now (a conflict: somebody else wrote); -1 when there is no such live session. One round trip
-- tells the three apart.
--
-- Promises: never resurrects, because it never inserts: a late save after a logout finds no row. A write is a use, so it
-- slides the expiry as well; the row is rewritten anyway, and a touch that skipped this row while it was locked loses
-- nothing.
--
-- Commits asynchronously unless durable; the setting is local to the transaction, as for insert.
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
  new_version integer;
BEGIN
  IF update_payload.payload IS NULL THEN
    RAISE null_value_not_allowed USING MESSAGE = 'sessionsql.update_payload: payload must not be null';
  END IF;

  IF update_payload.durable IS NOT TRUE THEN
    PERFORM set_config('synchronous_commit', 'off', true);
  END IF;

  UPDATE sessionsql.session AS s
  SET payload = update_payload.payload,
      version = s.version + 1,
      expires_at = GREATEST(s.expires_at, sessionsql.next_expiry(s.idle_seconds, s.deadline))
  WHERE s.id = update_payload.id
    AND sessionsql.opens(update_payload.secret_hash, s.secret_hash, s.previous_hash, s.previous_until)
    AND s.expires_at > statement_timestamp()
    AND (update_payload.expected_version IS NULL OR s.version = update_payload.expected_version)
  RETURNING s.version INTO new_version;

  IF new_version IS NOT NULL THEN
    RETURN new_version;
  END IF;

  PERFORM 1 FROM sessionsql.lookup(update_payload.id, update_payload.secret_hash);
  RETURN CASE WHEN FOUND THEN 0 ELSE -1 END;
END
$function$;

COMMENT ON FUNCTION sessionsql.update_payload(bigint, bytea, text, integer, boolean) IS
  'Writes the payload. Returns the new version, 0 on a version conflict, -1 when there is no such live session.';
