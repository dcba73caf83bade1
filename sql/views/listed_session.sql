-- A session as its owner may see it in a list of places where they are logged in: no secret and no payload.
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
  'What its user tells it apart by; null when none was given.';
