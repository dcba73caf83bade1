-- lookup, for clients that have only SQL: the live session that a token opens; no row for any other,
-- malformed ones included. Send the token as a parameter and not in the text.
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
  'The live session that a token opens; no row when there is none. For clients that have only SQL.';
