-- insert, for clients that have only SQL: makes the secret here, and returns the whole token; Go's open it
-- too. The secret is 128 bits of the server's strong randomness (what gen_random_uuid uses), and is stored
-- nowhere.
--
-- The token is in the result and nowhere else; but a client that sends it back in SQL text
-- (find_session('...')) has it in the server's log wherever statements are logged: send it as a parameter,
-- and keep log_parameter_max_length at 0.
CREATE OR REPLACE FUNCTION sessionsql.new_session(
  payload text,
  idle_timeout interval DEFAULT '30 minutes',
  lifetime interval DEFAULT NULL,
  subject text DEFAULT NULL,
  durable boolean DEFAULT false,
  max_sessions integer DEFAULT NULL,
  label text DEFAULT NULL
)
RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  -- A UUID has 6 fixed bits; hashing two of them leaves none.
  secret CONSTANT bytea := substr(
    sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())), 1, 16
  );
  id CONSTANT bigint := sessionsql.insert(
    secret_hash => sha256(secret),
    payload => new_session.payload,
    idle_timeout => new_session.idle_timeout,
    lifetime => new_session.lifetime,
    subject => new_session.subject,
    durable => new_session.durable,
    max_sessions => new_session.max_sessions,
    label => new_session.label
  );
BEGIN
  RETURN translate(encode(int8send(id) || secret, 'base64'), '+/', '-_');
END
$function$;

COMMENT ON FUNCTION sessionsql.new_session(text, interval, interval, text, boolean, integer, text) IS
  'Inserts a session and returns its token, for clients that have only SQL.';
