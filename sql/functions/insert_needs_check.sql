-- Good input without max_sessions needs no call of check_insert, which would cost time. The body is one
-- expression, so that the planner inlines it. BEGIN ATOMIC binds its operators, so insert needs no SET
-- search_path.
CREATE OR REPLACE FUNCTION sessionsql.insert_needs_check(
  secret_hash bytea,
  payload text,
  idle_seconds double precision,
  lifetime_seconds double precision,
  subject text,
  max_sessions integer,
  label text
)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1
BEGIN ATOMIC
  SELECT (
    octet_length(insert_needs_check.secret_hash) = 32
    AND insert_needs_check.payload IS NOT NULL
    AND insert_needs_check.idle_seconds > 0 AND insert_needs_check.idle_seconds <= sessionsql.max_timeout()
    AND COALESCE(
      insert_needs_check.lifetime_seconds > 0
        AND insert_needs_check.lifetime_seconds <= sessionsql.max_timeout(),
      true
    )
    AND COALESCE(octet_length(insert_needs_check.subject) <= sessionsql.max_subject_bytes(), true)
    AND COALESCE(octet_length(insert_needs_check.label) <= sessionsql.max_label_bytes(), true)
    AND insert_needs_check.max_sessions IS NULL
  ) IS NOT TRUE;
END;

COMMENT ON FUNCTION
  sessionsql.insert_needs_check(bytea, text, double precision, double precision, text, integer, text) IS
  'Returns whether check_insert must see these values: one is bad, or max_sessions is given.';
