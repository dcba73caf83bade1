-- This file alone states the version. Go and the packaging read it, and scripts/generate.sh copies it into
-- begin.sql.
CREATE OR REPLACE FUNCTION sessionsql.version()
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT SECURITY INVOKER COST 1
BEGIN ATOMIC
  SELECT '0.2.0'::text;
END;

COMMENT ON FUNCTION sessionsql.version() IS 'Returns the version of the installed bundle.';
