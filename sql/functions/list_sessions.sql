-- list_subject, for clients that have only SQL: where the user of a token is logged in, newest first, and
-- which row is the token's own. No row when the token opens nothing, or a session without a subject.
CREATE OR REPLACE FUNCTION sessionsql.list_sessions(token text)
RETURNS TABLE (
  id bigint,
  created_at timestamptz,
  expires_in double precision,
  label text,
  is_current boolean
)
LANGUAGE sql STABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100 ROWS 10
BEGIN ATOMIC
  SELECT
    l.id,
    l.created_at,
    l.expires_in,
    l.label,
    l.id = o.id AS is_current
  FROM sessionsql.open_session(
    sessionsql.token_id(list_sessions.token),
    sessionsql.token_hash(list_sessions.token)
  ) AS o
  CROSS JOIN LATERAL sessionsql.list_subject(o.subject) AS l
  ORDER BY l.created_at DESC, l.id DESC;
END;

COMMENT ON FUNCTION sessionsql.list_sessions(text) IS
  'The live sessions of the subject whose token this is, newest first, without secrets and payload.';
