-- insert and insert_batch refuse bad input here, because a NOT NULL violation in the table would print the
-- whole row. No message repeats a value.
CREATE OR REPLACE FUNCTION sessionsql.check_insert(
  secret_hash bytea,
  payload text,
  idle_seconds double precision,
  lifetime_seconds double precision,
  subject text,
  max_sessions integer DEFAULT NULL,
  label text DEFAULT NULL
)
RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 10
SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
  problem text;
BEGIN
  IF check_insert.payload IS NULL THEN
    RAISE null_value_not_allowed USING MESSAGE = 'sessionsql.insert: payload must not be null';
  END IF;
  problem := CASE
    WHEN (octet_length(check_insert.secret_hash) = 32) IS NOT TRUE
      THEN 'secret_hash must be a SHA-256 hash of 32 bytes'
    WHEN (check_insert.idle_seconds > 0 AND check_insert.idle_seconds <= sessionsql.max_timeout()) IS NOT TRUE
      THEN 'idle timeout must be positive and at most 100 years'
    WHEN NOT (check_insert.lifetime_seconds > 0 AND check_insert.lifetime_seconds <= sessionsql.max_timeout())
      THEN 'lifetime must be positive and at most 100 years, or null for none'
    WHEN octet_length(check_insert.subject) > sessionsql.max_subject_bytes()
      THEN format('subject must be at most %s bytes', sessionsql.max_subject_bytes())
    WHEN octet_length(check_insert.label) > sessionsql.max_label_bytes()
      THEN format('label must be at most %s bytes', sessionsql.max_label_bytes())
    WHEN NOT (check_insert.max_sessions > 0)
      THEN 'max_sessions must be positive, or null for no cap'
    WHEN check_insert.max_sessions IS NOT NULL AND check_insert.subject IS NULL
      THEN 'max_sessions needs a subject'
  END;
  IF problem IS NOT NULL THEN
    RAISE invalid_parameter_value USING MESSAGE = 'sessionsql.insert: ' || problem;
  END IF;
END
$function$;

COMMENT ON FUNCTION
  sessionsql.check_insert(bytea, text, double precision, double precision, text, integer, text) IS
  'Raises an error that names a bad parameter of insert, but never its value.';
