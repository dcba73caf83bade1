-- Whether insert may go on without asking check_insert what is wrong: the test that every good call passes.
-- An expression and not statements, so that it is inlined; BEGIN ATOMIC binds its operators, so that insert
-- needs no SET search_path, whose price at each call is measurable.
CREATE OR REPLACE FUNCTION sessionsql.is_insertable(
  secret_hash bytea,
  payload text,
  idle_seconds double precision,
  lifetime_seconds double precision,
  subject text,
  max_sessions integer,
  label text DEFAULT NULL
)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1
BEGIN ATOMIC
  SELECT (
    octet_length(is_insertable.secret_hash) = 32
    AND is_insertable.payload IS NOT NULL
    AND is_insertable.idle_seconds > 0 AND is_insertable.idle_seconds <= sessionsql.max_timeout()
    AND COALESCE(
      is_insertable.lifetime_seconds > 0 AND is_insertable.lifetime_seconds <= sessionsql.max_timeout(),
      true
    )
    AND COALESCE(octet_length(is_insertable.subject) <= sessionsql.max_subject_bytes(), true)
    AND COALESCE(octet_length(is_insertable.label) <= sessionsql.max_label_bytes(), true)
    AND is_insertable.max_sessions IS NULL
  ) IS TRUE;
END;

COMMENT ON FUNCTION
  sessionsql.is_insertable(bytea, text, double precision, double precision, text, integer, text) IS
  'Whether a session without a cap can be inserted with these values; check_insert says why not.';
