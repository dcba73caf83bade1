-- Gives a live session a new secret, in the same row: at login, at a change of privilege, or every so often.
-- Returns whether it did; false = secret_hash is not the session's current one, or there is no such live
-- session.
--
-- Promises: the old secret opens the session until grace has passed, then never; requests that were under way
-- with it end well. Only the current secret can rotate: of two requests that rotate at once with the same
-- one, one wins, and the other is told so while its session lives on under both secrets until grace has
-- passed. A second rotate within the grace of the first ends the first one's. A subject, when given, becomes
-- the session's: anonymous to logged in. Pass grace => '0' then, or whoever knew the anonymous token is
-- logged in for as long. With max_sessions, a login ends the subject's oldest sessions beyond it, as insert
-- does.
--
-- Never resurrects: it locks the row before it judges it, so a session that expired while the call waited
-- stays dead. Commits synchronously, or a crash would bring the old secret back. A use, so it slides the
-- expiry.
CREATE OR REPLACE FUNCTION sessionsql.rotate(
  id bigint,
  secret_hash bytea,
  new_secret_hash bytea,
  grace interval DEFAULT '10 seconds',
  subject text DEFAULT NULL,
  max_sessions integer DEFAULT NULL
)
RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  -- Seconds, and nothing but these from here on: '11 mon -330 days' is none by this measure and days by the
  -- calendar.
  grace_seconds CONSTANT double precision := date_part('epoch', rotate.grace);
  excess bigint[];
  expiry timestamptz;
BEGIN
  IF (octet_length(rotate.new_secret_hash) = 32) IS NOT TRUE THEN
    RAISE invalid_parameter_value USING
      MESSAGE = 'sessionsql.rotate: new_secret_hash must be a SHA-256 hash of 32 bytes';
  ELSIF (grace_seconds BETWEEN 0 AND 3600) IS NOT TRUE THEN
    RAISE invalid_parameter_value USING
      MESSAGE = 'sessionsql.rotate: grace must be between 0 and 1 hour';
  ELSIF octet_length(rotate.subject) > sessionsql.max_subject_bytes() THEN
    RAISE invalid_parameter_value USING
      MESSAGE = format('sessionsql.rotate: subject must be %s bytes at most', sessionsql.max_subject_bytes());
  ELSIF NOT (rotate.max_sessions > 0) OR (rotate.max_sessions IS NOT NULL AND rotate.subject IS NULL) THEN
    RAISE invalid_parameter_value USING
      MESSAGE = 'sessionsql.rotate: max_sessions must be positive, and needs a subject';
  END IF;

  PERFORM sessionsql.commit_synchronously();
  IF rotate.max_sessions IS NOT NULL THEN
    -- Together with this session's own row, and in id order.
    excess := sessionsql.lock_excess(rotate.subject, rotate.max_sessions, rotate.id);
  END IF;

  SELECT s.expires_at INTO expiry
  FROM sessionsql.session AS s
  WHERE s.id = rotate.id
    AND s.secret_hash = rotate.secret_hash
  FOR NO KEY UPDATE OF s;
  IF (expiry > clock_timestamp()) IS NOT TRUE THEN
    RETURN false;
  END IF;

  -- Without a grace there is no previous secret: one whose time is up would still open the session in a
  -- statement that began before.
  UPDATE sessionsql.session AS s
  SET secret_hash = rotate.new_secret_hash,
      previous_hash = CASE WHEN grace_seconds > 0 THEN s.secret_hash END,
      previous_until = CASE
        WHEN grace_seconds > 0 THEN clock_timestamp() + make_interval(secs => grace_seconds)
      END,
      subject = COALESCE(rotate.subject, s.subject),
      expires_at = GREATEST(s.expires_at, sessionsql.next_expiry(s.idle_seconds, s.deadline))
  WHERE s.id = rotate.id;

  IF excess IS NOT NULL THEN
    PERFORM sessionsql.end_excess(excess);
  END IF;
  RETURN true;
END
$function$;

COMMENT ON FUNCTION sessionsql.rotate(bigint, bytea, bytea, interval, text, integer) IS
  'Gives a session a new secret; the old one is good for grace. True if it did. Commits synchronously.';
