-- During the grace after a rotate, the previous secret opens the session too, so that requests under way
-- succeed. Writers pass clock_timestamp(), because they may have waited for the row; readers call opens.
--
-- Hashes need no comparison in constant time, because an attacker cannot choose the bytes of the SHA-256
-- digest that is compared. The function has no SET clause and is not STRICT, so that the planner inlines it.
CREATE OR REPLACE FUNCTION sessionsql.opens_at(
  presented_hash bytea,
  secret_hash bytea,
  previous_hash bytea,
  previous_until timestamptz,
  at timestamptz
)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1
BEGIN ATOMIC
  SELECT opens_at.presented_hash = opens_at.secret_hash
    OR (opens_at.presented_hash = opens_at.previous_hash AND opens_at.previous_until > opens_at.at);
END;

COMMENT ON FUNCTION sessionsql.opens_at(bytea, bytea, bytea, timestamptz, timestamptz) IS
  'Returns whether a hash opens a session at a time: the current one, or the previous one in its grace.';
