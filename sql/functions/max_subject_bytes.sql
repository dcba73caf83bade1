-- An index entry must fit into a third of a page. Go reads the limit from this file.
CREATE OR REPLACE FUNCTION sessionsql.max_subject_bytes()
RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT SECURITY INVOKER COST 1
BEGIN ATOMIC
  SELECT 1024;
END;

COMMENT ON FUNCTION sessionsql.max_subject_bytes() IS 'Returns the limit of a subject, in bytes.';
