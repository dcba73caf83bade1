-- This is the row type of list_subject, for a page that shows users their sessions.
CREATE OR REPLACE VIEW sessionsql.listed_session AS
SELECT
  s.id,
  s.created_at,
  date_part('epoch', s.expires_at - statement_timestamp())::double precision AS expires_in,
  s.label
FROM sessionsql.session AS s
WHERE s.expires_at > statement_timestamp()
  AND s.subject IS NOT NULL;

COMMENT ON VIEW sessionsql.listed_session IS 'A live session of a subject, without secrets and payload.';
COMMENT ON COLUMN sessionsql.listed_session.id IS 'Row number; never a credential.';
COMMENT ON COLUMN sessionsql.listed_session.created_at IS 'When the session was inserted.';
COMMENT ON COLUMN sessionsql.listed_session.expires_in IS 'Seconds left, by the server''s clock.';
COMMENT ON COLUMN sessionsql.listed_session.label IS
  'Name by which a user tells their sessions apart; null if none was given.';
