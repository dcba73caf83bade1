-- This is the row type of list_subject in 0.1.0. It stays, because a call that is under way during an upgrade
-- still returns its rows.
CREATE OR REPLACE VIEW sessionsql.subject_session AS
SELECT
  s.id,
  s.created_at,
  date_part('epoch', s.expires_at - statement_timestamp())::double precision AS expires_in
FROM sessionsql.session AS s
WHERE s.expires_at > statement_timestamp()
  AND s.subject IS NOT NULL;

COMMENT ON VIEW sessionsql.subject_session IS 'A live session of a subject, without secrets and payload.';
COMMENT ON COLUMN sessionsql.subject_session.id IS 'Row number; never a credential.';
COMMENT ON COLUMN sessionsql.subject_session.created_at IS 'When the session was inserted.';
COMMENT ON COLUMN sessionsql.subject_session.expires_in IS 'Seconds left, by the server''s clock.';
