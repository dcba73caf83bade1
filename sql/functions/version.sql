-- The version of the installed bundle. This file is the only place where it is written: Go and the packaging
-- read it here, and scripts/generate.sh copies it into begin.sql.
CREATE OR REPLACE FUNCTION sessionsql.version()
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT SECURITY INVOKER COST 1
BEGIN ATOMIC
  SELECT '0.2.0'::text;
END;

COMMENT ON FUNCTION sessionsql.version() IS 'Version of the installed bundle.';
