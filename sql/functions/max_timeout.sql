-- The largest idle timeout and lifetime: 100 years of 365.25 days. Go reads it here.
CREATE OR REPLACE FUNCTION sessionsql.max_timeout()
RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT SECURITY INVOKER COST 1
BEGIN ATOMIC
  SELECT 3155760000::double precision;
END;

COMMENT ON FUNCTION sessionsql.max_timeout() IS 'Largest idle timeout and lifetime, in seconds.';
