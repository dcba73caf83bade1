-- Whether a presented hash opens a row, for readers: at their statement's time. No SET clause and not STRICT,
-- so that it is inlined.
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
  'Whether a presented hash is the session''s current one, or its previous one within the grace of a rotate.';
