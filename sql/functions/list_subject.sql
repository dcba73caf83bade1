-- A caller needs only a user's name to see the user's sessions, so roles.sql withholds this function from
-- sessionsql_app.
CREATE OR REPLACE FUNCTION sessionsql.list_subject(subject text)
RETURNS SETOF sessionsql.listed_session
LANGUAGE sql STABLE PARALLEL SAFE CALLED ON NULL INPUT SECURITY INVOKER COST 100 ROWS 10
BEGIN ATOMIC
  SELECT
    s.id,
    s.created_at,
    date_part('epoch', s.expires_at - statement_timestamp())::double precision AS expires_in,
    s.label
  FROM sessionsql.session AS s
  WHERE s.subject = list_subject.subject COLLATE "default"
    AND s.expires_at > statement_timestamp()
    AND sessionsql.is_home(s.id)
  ORDER BY s.created_at DESC, s.id DESC;
END;

COMMENT ON FUNCTION sessionsql.list_subject(text) IS
  'Lists the live sessions of a subject, newest first, without secrets and payload.';
