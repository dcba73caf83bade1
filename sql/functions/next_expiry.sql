-- With idle timeout T, each use moves the expiry to now + T + T/3. The extra third lets touch_batch skip a
-- session until less than T is left, so a busy session is rewritten once every T/3 and not at every request.
--
-- The clock is clock_timestamp(), because now() is too old in a long transaction, and so is
-- statement_timestamp() in a statement that has waited for a lock. The function has no SET clause and is not
-- STRICT, so that the planner inlines it.
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
  'Returns the expiry of a session used now: idle timeout plus a third, at most its deadline.';
