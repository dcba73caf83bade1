-- The limit is 100 years of 365.25 days. Go reads the limit from this file.
CREATE OR REPLACE FUNCTION sessionsql.max_timeout()
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT SECURITY INVOKER COST 1
BEGIN ATOMIC
  SELECT 3155760000::double precision;
END;

COMMENT ON FUNCTION sessionsql.max_timeout() IS 'Returns the limit of idle timeout and lifetime, in seconds.';
