-- This is update_payload for clients that have only SQL. An expected version that no session can have is a
-- conflict. Commits asynchronously unless durable.
CREATE OR REPLACE FUNCTION sessionsql.save_session(
  token text,
  payload text,
  expected_version bigint DEFAULT NULL,
  durable boolean DEFAULT false
)
RETURNS integer
LANGUAGE sql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
BEGIN ATOMIC
  SELECT sessionsql.update_payload(
    sessionsql.token_id(save_session.token),
    sessionsql.token_hash(save_session.token),
    save_session.payload,
    CASE
      WHEN save_session.expected_version BETWEEN 1 AND 2147483647 THEN save_session.expected_version::integer
      WHEN save_session.expected_version IS NOT NULL THEN 0
    END,
    save_session.durable
  );
END;

COMMENT ON FUNCTION sessionsql.save_session(text, text, bigint, boolean) IS
  'Writes the payload of a token''s session; returns its new version, 0 (conflict) or -1 (gone).';
