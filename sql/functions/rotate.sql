-- Gives a live session a new secret, in the same row: at login, at a change of privilege, or every so often. Returns whether
-- it did; false = secret_hash is not the session's current one, or there is no such live session.
--
-- Promises: the old secret opens the session until grace has passed, then never; requests that were under way with it end
-- well. Only the current secret can rotate: of two requests that rotate at once with the same one, one wins, and the other
-- is told so while its session lives on under both secrets until grace has passed. A second rotate within the grace of the
-- first ends the first one's. A subject, when given, becomes the session's: anonymous to logged in. Pass grace => '0' then,
-- or whoever knew the anonymous token is logged in for as long.
--
-- Commits synchronously, or a crash would bring the old secret back. A use, so it slides the expiry.
CREATE OR REPLACE FUNCTION sessionsql.rotate(
  id bigint,
  secret_hash bytea,
  new_secret_hash bytea,
  grace interval DEFAULT '10 seconds',
  subject text DEFAULT NULL
)
RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
  IF (octet_length(rotate.new_secret_hash) = 32) IS NOT TRUE THEN
    RAISE invalid_parameter_value USING MESSAGE = 'sessionsql.rotate: new_secret_hash must be a SHA-256 hash of 32 bytes';
  ELSIF (date_part('epoch', rotate.grace) BETWEEN 0 AND 3600) IS NOT TRUE THEN
    RAISE invalid_parameter_value USING MESSAGE = 'sessionsql.rotate: grace must be between 0 and 1 hour';
  ELSIF octet_length(rotate.subject) > 1024 THEN
    RAISE invalid_parameter_value USING MESSAGE = 'sessionsql.rotate: subject must be 1024 bytes at most';
  END IF;

  IF current_setting('synchronous_commit') = 'off' THEN
    PERFORM set_config('synchronous_commit', 'on', true);
  END IF;

  UPDATE sessionsql.session AS s
  SET secret_hash = rotate.new_secret_hash,
      previous_hash = s.secret_hash,
      previous_until = statement_timestamp() + rotate.grace,
      subject = COALESCE(rotate.subject, s.subject),
      expires_at = GREATEST(s.expires_at, sessionsql.next_expiry(s.idle_seconds, s.deadline))
  WHERE s.id = rotate.id
    AND s.secret_hash = rotate.secret_hash
    AND s.expires_at > statement_timestamp();

  RETURN FOUND;
END
$function$;

COMMENT ON FUNCTION sessionsql.rotate(bigint, bytea, bytea, interval, text) IS
  'Gives a session a new secret, the old one being good for grace; returns whether it did. Commits synchronously.';
