-- This is revoke_listed for clients that have only SQL. The id is from list_sessions.
CREATE OR REPLACE FUNCTION sessionsql.end_listed_session(token text, id bigint)
RETURNS boolean
LANGUAGE sql VOLATILE PARALLEL UNSAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100
BEGIN ATOMIC
  SELECT sessionsql.revoke_listed(
    sessionsql.token_id(end_listed_session.token),
    sessionsql.token_hash(end_listed_session.token),
    end_listed_session.id
  );
END;

COMMENT ON FUNCTION sessionsql.end_listed_session(text, bigint) IS
  'Revokes another session of a token''s subject; returns whether it was alive. Commits synchronously.';
