-- The longest label: room for a browser, a system and a place, and no room for a payload. Go reads it here.
CREATE OR REPLACE FUNCTION sessionsql.max_label_bytes()
RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT SECURITY INVOKER COST 1
BEGIN ATOMIC
  SELECT 256;
END;

COMMENT ON FUNCTION sessionsql.max_label_bytes() IS 'Longest label, in bytes.';
