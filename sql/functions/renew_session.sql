-- This is rotate for clients that have only SQL. The server makes the new secret. Null means that the token
-- opens no live session, or that another request rotated first and this token is the previous one.
--
-- The grace defaults to 10 seconds, and to none with a subject, because a login must leave the anonymous
-- token dead: somebody may have planted it (session fixation; OWASP ASVS 5.0, 7.2.4).
CREATE OR REPLACE FUNCTION sessionsql.renew_session(
  token text,
  subject text DEFAULT NULL,
  grace interval DEFAULT NULL,
  max_sessions bigint DEFAULT NULL
)
RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  id CONSTANT bigint := sessionsql.token_id(renew_session.token);
  secret CONSTANT bytea := sessionsql.new_secret();
BEGIN
  IF sessionsql.rotate(
    id => id,
    secret_hash => sessionsql.token_hash(renew_session.token),
    new_secret_hash => sha256(secret),
    grace => COALESCE(
      renew_session.grace,
      CASE WHEN renew_session.subject IS NULL THEN interval '10 seconds' ELSE interval '0' END
    ),
    subject => renew_session.subject,
    max_sessions => renew_session.max_sessions::integer
  ) THEN
    RETURN sessionsql.token_from(id, secret);
  END IF;
  RETURN NULL;
END
$function$;

COMMENT ON FUNCTION sessionsql.renew_session(text, text, interval, bigint) IS
  'Rotates the secret of a session and returns the new token, or null. Commits synchronously.';

-- This overload is for drivers that send a number of seconds.
CREATE OR REPLACE FUNCTION sessionsql.renew_session(
  token text,
  subject text,
  grace double precision,
  max_sessions bigint DEFAULT NULL
)
RETURNS text
LANGUAGE sql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
BEGIN ATOMIC
  SELECT sessionsql.renew_session(
    renew_session.token,
    renew_session.subject,
    make_interval(secs => renew_session.grace),
    renew_session.max_sessions
  );
END;

COMMENT ON FUNCTION sessionsql.renew_session(text, text, double precision, bigint) IS
  'Rotates the secret of a session and returns the new token, or null; the grace is seconds.';

-- This overload is for drivers that declare a string as text, such as '10 seconds', or '10' for seconds.
CREATE OR REPLACE FUNCTION sessionsql.renew_session(
  token text,
  subject text,
  grace text,
  max_sessions bigint DEFAULT NULL
)
RETURNS text
LANGUAGE sql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
BEGIN ATOMIC
  SELECT sessionsql.renew_session(
    renew_session.token,
    renew_session.subject,
    renew_session.grace::interval,
    renew_session.max_sessions
  );
END;

COMMENT ON FUNCTION sessionsql.renew_session(text, text, text, bigint) IS
  'Rotates the secret of a session and returns the new token, or null; the grace is text.';
