-- This is insert for clients that have only SQL. The server makes the secret; Go opens the token too.
--
-- The server neither stores nor logs this token. A client that later sends it in the text of a statement, as
-- in find_session('...'), puts it into the log of a server that logs statements. Send it as a parameter, and
-- keep log_parameter_max_length at 0.
CREATE OR REPLACE FUNCTION sessionsql.new_session(
  payload text,
  idle_timeout interval DEFAULT '30 minutes',
  lifetime interval DEFAULT NULL,
  subject text DEFAULT NULL,
  durable boolean DEFAULT false,
  max_sessions bigint DEFAULT NULL,
  label text DEFAULT NULL
)
RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  secret CONSTANT bytea := sessionsql.new_secret();
  id CONSTANT bigint := sessionsql.insert(
    secret_hash => sha256(secret),
    payload => new_session.payload,
    idle_timeout => new_session.idle_timeout,
    lifetime => new_session.lifetime,
    subject => new_session.subject,
    durable => new_session.durable,
    max_sessions => new_session.max_sessions::integer,
    label => new_session.label
  );
BEGIN
  RETURN sessionsql.token_from(id, secret);
END
$function$;

COMMENT ON FUNCTION sessionsql.new_session(text, interval, interval, text, boolean, bigint, text) IS
  'Inserts a session and returns its token. Commits asynchronously unless durable.';

-- This overload is for drivers that send a number of seconds. The idle timeout has no default, because a call
-- without it would match several functions.
CREATE OR REPLACE FUNCTION sessionsql.new_session(
  payload text,
  idle_timeout double precision,
  lifetime double precision DEFAULT NULL,
  subject text DEFAULT NULL,
  durable boolean DEFAULT false,
  max_sessions bigint DEFAULT NULL,
  label text DEFAULT NULL
)
RETURNS text
LANGUAGE sql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
BEGIN ATOMIC
  SELECT sessionsql.new_session(
    new_session.payload,
    make_interval(secs => new_session.idle_timeout),
    make_interval(secs => new_session.lifetime),
    new_session.subject,
    new_session.durable,
    new_session.max_sessions,
    new_session.label
  );
END;

COMMENT ON FUNCTION
  sessionsql.new_session(text, double precision, double precision, text, boolean, bigint, text) IS
  'Inserts a session and returns its token; both timeouts are seconds.';

-- This overload is for drivers that declare a string as text, such as '30 minutes', or '1800' for seconds.
CREATE OR REPLACE FUNCTION sessionsql.new_session(
  payload text,
  idle_timeout text,
  lifetime text DEFAULT NULL,
  subject text DEFAULT NULL,
  durable boolean DEFAULT false,
  max_sessions bigint DEFAULT NULL,
  label text DEFAULT NULL
)
RETURNS text
LANGUAGE sql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
BEGIN ATOMIC
  SELECT sessionsql.new_session(
    new_session.payload,
    new_session.idle_timeout::interval,
    new_session.lifetime::interval,
    new_session.subject,
    new_session.durable,
    new_session.max_sessions,
    new_session.label
  );
END;

COMMENT ON FUNCTION sessionsql.new_session(text, text, text, text, boolean, bigint, text) IS
  'Inserts a session and returns its token; both timeouts are text, an interval or seconds.';
