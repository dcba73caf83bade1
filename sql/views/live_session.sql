-- Readers get no hash. They get the time left in seconds by the server's clock, so that no client compares a
-- timestamp with a clock of its own.
CREATE OR REPLACE VIEW sessionsql.live_session AS
SELECT
  s.id,
  s.payload,
  s.version,
  s.subject,
  date_part('epoch', s.expires_at - statement_timestamp())::double precision AS expires_in
FROM sessionsql.session AS s
WHERE s.expires_at > statement_timestamp();

COMMENT ON VIEW sessionsql.live_session IS 'A live session, without its secrets.';
COMMENT ON COLUMN sessionsql.live_session.id IS 'Row number; never a credential.';
COMMENT ON COLUMN sessionsql.live_session.payload IS 'What the application keeps.';
COMMENT ON COLUMN sessionsql.live_session.version IS 'Counts payload writes, from 1.';
COMMENT ON COLUMN sessionsql.live_session.subject IS 'Whose session this is; null for an anonymous one.';
COMMENT ON COLUMN sessionsql.live_session.expires_in IS 'Seconds left, by the server''s clock.';
