-- This is list_subject for clients that have only SQL. A token of no session, or of one without a subject,
-- gets no row.
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
  'Lists the live sessions of a token''s subject, newest first, and marks the token''s own.';
