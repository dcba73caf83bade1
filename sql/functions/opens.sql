-- Whether a presented hash opens a row: it is the current one, or the one before it while the grace after a rotate lasts.
-- Comparing hashes needs no constant time: to learn one byte of a stored hash, an attacker would have to choose the bytes
-- of a SHA-256 digest. No SET clause and not STRICT: inlined.
CREATE OR REPLACE FUNCTION sessionsql.opens(
  presented_hash bytea,
  secret_hash bytea,
  previous_hash bytea,
  previous_until timestamptz
)
RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 1
BEGIN ATOMIC
  SELECT opens.presented_hash = opens.secret_hash
    OR (opens.presented_hash = opens.previous_hash AND opens.previous_until > statement_timestamp());
END;

COMMENT ON FUNCTION sessionsql.opens(bytea, bytea, bytea, timestamptz) IS
  'Whether a presented hash is the session''s current one, or its previous one within the grace after a rotate.';
