-- Readers judge by the time of their statement; writers call opens_at. The function has no SET clause and is
-- not STRICT, so that the planner inlines it.
CREATE OR REPLACE FUNCTION sessionsql.opens(
  presented_hash bytea,
  secret_hash bytea,
  previous_hash bytea,
  previous_until timestamptz
)
RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1
BEGIN ATOMIC
  SELECT sessionsql.opens_at(
    opens.presented_hash, opens.secret_hash, opens.previous_hash, opens.previous_until, statement_timestamp()
  );
END;

COMMENT ON FUNCTION sessionsql.opens(bytea, bytea, bytea, timestamptz) IS
  'Returns whether a hash opens a session now: the current one, or the previous one in its grace.';
