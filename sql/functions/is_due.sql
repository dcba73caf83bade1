-- touch_batch and use_session share this rule, so it is written once. A session that expires at its deadline
-- is not due, because a touch cannot extend it. The function has no SET clause and is not STRICT, so that the
-- planner inlines it.
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
  'Returns whether a touch would extend a session: it is alive, with less than its idle timeout left.';
