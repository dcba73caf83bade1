-- This is lookup for clients that have only SQL. A malformed token finds no row, and raises no error. Send
-- the token as a parameter, because a server may log the text of a statement.
CREATE OR REPLACE FUNCTION sessionsql.find_session(token text)
RETURNS SETOF sessionsql.live_session
LANGUAGE sql STABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 20 ROWS 1
BEGIN ATOMIC
  SELECT
    l.id,
    l.payload,
    l.version,
    l.subject,
    l.expires_in
  FROM sessionsql.lookup(
    sessionsql.token_id(find_session.token),
    sessionsql.token_hash(find_session.token)
  ) AS l;
END;

COMMENT ON FUNCTION sessionsql.find_session(text) IS
  'Returns the live session of a token, or no row. Does not touch it.';
