-- Bad input to insert and insert_batch, refused by name before it reaches the table, whose own errors would print the row
-- with its payload. Returns nothing; raises without any value in the message.
CREATE OR REPLACE FUNCTION sessionsql.check_insert(
  secret_hash bytea,
  payload text,
  idle_seconds double precision,
  lifetime_seconds double precision,
  subject text,
  max_sessions integer DEFAULT NULL
)
RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 10
SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
  IF (octet_length(check_insert.secret_hash) = 32) IS NOT TRUE THEN
    RAISE invalid_parameter_value USING MESSAGE = 'sessionsql.insert: secret_hash must be a SHA-256 hash of 32 bytes';
  ELSIF check_insert.payload IS NULL THEN
    RAISE null_value_not_allowed USING MESSAGE = 'sessionsql.insert: payload must not be null';
  ELSIF (check_insert.idle_seconds > 0 AND check_insert.idle_seconds <= 3155760000) IS NOT TRUE THEN
    RAISE invalid_parameter_value USING MESSAGE = 'sessionsql.insert: idle timeout must be positive, 100 years at most';
  ELSIF NOT (check_insert.lifetime_seconds > 0 AND check_insert.lifetime_seconds <= 3155760000) THEN
    RAISE invalid_parameter_value
      USING MESSAGE = 'sessionsql.insert: lifetime must be positive, 100 years at most, or null for none';
  ELSIF octet_length(check_insert.subject) > 1024 THEN
    -- An index entry has to fit a third of a page.
    RAISE invalid_parameter_value USING MESSAGE = 'sessionsql.insert: subject must be 1024 bytes at most';
  ELSIF NOT (check_insert.max_sessions > 0) THEN
    RAISE invalid_parameter_value USING MESSAGE = 'sessionsql.insert: max_sessions must be positive, or null for no cap';
  ELSIF check_insert.max_sessions IS NOT NULL AND check_insert.subject IS NULL THEN
    RAISE invalid_parameter_value USING MESSAGE = 'sessionsql.insert: max_sessions caps the sessions of a subject: give one';
  END IF;
END
$function$;

COMMENT ON FUNCTION sessionsql.check_insert(bytea, text, double precision, double precision, text, integer) IS
  'Raises when a session could not be inserted with these values, without repeating them.';
