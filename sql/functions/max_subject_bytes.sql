-- The longest subject: an index entry has to fit a third of a page. Go reads it here.
CREATE OR REPLACE FUNCTION sessionsql.max_subject_bytes()
RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT SECURITY INVOKER COST 1
BEGIN ATOMIC
  SELECT 1024;
END;

COMMENT ON FUNCTION sessionsql.max_subject_bytes() IS 'Longest subject, in bytes.';
