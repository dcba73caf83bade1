-- Which sessions a touch writes, said once for the two places in touch_batch that must agree: alive, less
-- than the idle timeout left, and not yet at the deadline, where there is nothing to give. No SET clause and
-- not STRICT: inlined.
CREATE OR REPLACE FUNCTION sessionsql.is_due(
  expires_at timestamptz,
  idle_seconds double precision,
  deadline timestamptz
)
RETURNS boolean
LANGUAGE sql VOLATILE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1
BEGIN ATOMIC
  SELECT is_due.expires_at > clock_timestamp()
    AND is_due.expires_at < is_due.deadline
    AND is_due.expires_at < clock_timestamp() + make_interval(secs => is_due.idle_seconds);
END;

COMMENT ON FUNCTION sessionsql.is_due(timestamptz, double precision, timestamptz) IS
  'Whether a touch has something to give: alive, less than the idle timeout left, deadline not reached.';
