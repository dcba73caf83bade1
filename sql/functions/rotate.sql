-- A session gets a new secret in the same row, at login, at a change of privilege, or from time to time.
-- False means that secret_hash is not the current one, or that there is no such live session.
--
-- Promises: the old secret opens the session until the grace ends, so that requests under way succeed, and
-- never after. Only the current secret can rotate. If two requests rotate at once, one wins and the other
-- gets false, and both secrets open the session until the grace ends. A second rotate within the grace ends
-- the grace of the first.
--
-- A subject turns an anonymous session into a logged-in one. Pass grace => '0' with it, because anyone who
-- knew the anonymous token would be logged in during the grace. max_sessions then evicts the subject's oldest
-- sessions, as in insert.
--
-- The row is locked before it is judged, so a session that expired during the wait stays dead. The commit is
-- synchronous, because a crash would bring the old secret back. A rotate is a use, so it extends the expiry.
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
  -- The grace counts in seconds, because '11 mon -330 days' is zero seconds but spans days of the calendar.
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
      MESSAGE = format('sessionsql.rotate: subject must be at most %s bytes', sessionsql.max_subject_bytes());
  ELSIF NOT (rotate.max_sessions > 0) OR (rotate.max_sessions IS NOT NULL AND rotate.subject IS NULL) THEN
    RAISE invalid_parameter_value USING
      MESSAGE = 'sessionsql.rotate: max_sessions must be positive and needs a subject';
  END IF;

  IF current_setting('synchronous_commit') = 'off' THEN -- as in revoke
    PERFORM sessionsql.commit_synchronously();
  END IF;
  IF rotate.max_sessions IS NOT NULL THEN
    -- This also locks the session's own row, so that all locks are taken in id order.
    excess := sessionsql.lock_excess(rotate.subject, rotate.max_sessions, rotate.id);
  END IF;

  SELECT s.expires_at INTO expiry
  FROM sessionsql.session AS s
  WHERE s.id = sessionsql.at_home(rotate.id)
    AND s.secret_hash = rotate.secret_hash
  FOR NO KEY UPDATE OF s;
  IF (expiry > clock_timestamp()) IS NOT TRUE THEN
    RETURN false;
  END IF;

  -- Without a grace no previous secret is stored, because a statement that began earlier would accept it.
  UPDATE sessionsql.session AS s
  SET secret_hash = rotate.new_secret_hash,
      previous_hash = CASE WHEN grace_seconds > 0 THEN s.secret_hash END,
      previous_until = CASE
        WHEN grace_seconds > 0 THEN clock_timestamp() + make_interval(secs => grace_seconds)
      END,
      subject = COALESCE(rotate.subject, s.subject),
      expires_at = GREATEST(s.expires_at, sessionsql.next_expiry(s.idle_seconds, s.deadline))
  WHERE s.id = rotate.id;
  INSERT INTO sessionsql.change (ids) VALUES (ARRAY[rotate.id]);

  IF excess IS NOT NULL THEN
    PERFORM sessionsql.end_excess(excess);
  END IF;
  RETURN true;
END
$function$;

COMMENT ON FUNCTION sessionsql.rotate(bigint, bytea, bytea, interval, text, integer) IS
  'Rotates the secret of a session and returns whether it did. Commits synchronously.';
