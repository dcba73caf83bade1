-- Sliding expiration, written once: with idle timeout T and slack T/3, a use moves expiry to now + T + T/3,
-- never past the deadline. The slack is what lets touch_batch leave a row alone until less than T is left, so
-- that a busy session is rewritten once every T/3 and not at every request.
--
-- By clock_timestamp(), as whatever a writer decides: now() is the past in a long transaction, and
-- statement_timestamp() in a statement that has waited for a lock. Not STRICT, no SET clause: either would
-- keep the planner from inlining it.
CREATE OR REPLACE FUNCTION sessionsql.next_expiry(idle_seconds double precision, deadline timestamptz)
RETURNS timestamptz
LANGUAGE sql VOLATILE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1
BEGIN ATOMIC
  SELECT LEAST(
    clock_timestamp() + make_interval(secs => next_expiry.idle_seconds * 4 / 3),
    next_expiry.deadline
  );
END;

COMMENT ON FUNCTION sessionsql.next_expiry(double precision, timestamptz) IS
  'When a session that is used now expires: idle timeout plus a third, never past the deadline.';
