-- The absolute timeout of a session that begins now; infinity when there is none. Inlined; see next_expiry.
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
  'When a session that begins now reaches its lifetime; infinity for null.';
