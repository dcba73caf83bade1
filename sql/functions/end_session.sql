-- This is revoke for clients that have only SQL.
CREATE OR REPLACE FUNCTION sessionsql.end_session(token text)
RETURNS boolean
LANGUAGE sql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
BEGIN ATOMIC
  SELECT sessionsql.revoke(sessionsql.token_id(end_session.token), sessionsql.token_hash(end_session.token));
END;

COMMENT ON FUNCTION sessionsql.end_session(text) IS
  'Revokes the session of a token and returns whether it was alive. Commits synchronously.';
