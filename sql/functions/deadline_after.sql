-- insert and insert_batch share this rule, so it is written once. The function has no SET clause and is not
-- STRICT, so that the planner inlines it.
CREATE OR REPLACE FUNCTION sessionsql.deadline_after(lifetime_seconds double precision)
RETURNS timestamptz
LANGUAGE sql VOLATILE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1
BEGIN ATOMIC
  SELECT COALESCE(
    clock_timestamp() + make_interval(secs => deadline_after.lifetime_seconds),
    'infinity'::timestamptz
  );
END;

COMMENT ON FUNCTION sessionsql.deadline_after(double precision) IS
  'Returns the deadline of a session that starts now; infinity for a null lifetime.';
