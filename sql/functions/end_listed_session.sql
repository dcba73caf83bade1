-- revoke_listed, for clients that have only SQL: ends one other session out of the list that list_sessions
-- shows; returns whether it was alive.
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
  'Ends another session of the subject whose token this is; returns whether it was alive. Commits '
  'synchronously.';
