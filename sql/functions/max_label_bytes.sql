-- A label has room for the names of a browser, a system and a place, but not for a payload. Go reads the
-- limit from this file.
CREATE OR REPLACE FUNCTION sessionsql.max_label_bytes()
RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT SECURITY INVOKER COST 1
BEGIN ATOMIC
  SELECT 256;
END;

COMMENT ON FUNCTION sessionsql.max_label_bytes() IS 'Returns the limit of a label, in bytes.';
