-- Whether a presented hash opens a row: it is the current one, or the one before it while the grace after a
-- rotate lasts. Writers, which may have waited for the row, ask for clock_timestamp(); readers call opens.
--
-- Comparing hashes needs no constant time: to learn one byte of a stored hash, an attacker would have to
-- choose the bytes of a SHA-256 digest. No SET clause and not STRICT: inlined.
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
  'Whether a presented hash is the session''s current one, or its previous one within the grace of a rotate.';
