-- rotate, for clients that have only SQL: gives the session that a token opens a new secret, made here, and
-- returns the new token; null when there is no such live session, or when another request was first and the
-- presented token is the previous one. At login, pass the subject, and grace => '0'.
CREATE OR REPLACE FUNCTION sessionsql.renew_session(
  token text,
  subject text DEFAULT NULL,
  grace interval DEFAULT '10 seconds',
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
    grace => renew_session.grace,
    subject => renew_session.subject,
    max_sessions => renew_session.max_sessions::integer
  ) THEN
    RETURN sessionsql.token_from(id, secret);
  END IF;
  RETURN NULL;
END
$function$;

COMMENT ON FUNCTION sessionsql.renew_session(text, text, interval, bigint) IS
  'Gives a session a new token and returns it; null when there is none, or when another request was first. '
  'Commits synchronously.';

-- The same for drivers that send a number of seconds.
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
  'Gives a session a new token and returns it; grace in seconds.';

-- The same for drivers that declare a string as text: '10 seconds', or '10' for seconds.
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
  'Gives a session a new token and returns it; grace as text, an interval or seconds.';
