-- This is the row type of lookup_near.
CREATE OR REPLACE VIEW sessionsql.near_session AS
SELECT
  s.id,
  s.payload,
  s.version,
  s.subject,
  date_part('epoch', s.expires_at - statement_timestamp())::double precision AS expires_in,
  true AS is_current,
  pg_is_in_recovery() AS in_recovery
FROM sessionsql.session AS s
WHERE s.expires_at > statement_timestamp();

COMMENT ON VIEW sessionsql.near_session IS 'A live session, and whether its current secret opened it.';
COMMENT ON COLUMN sessionsql.near_session.id IS 'Row number; never a credential.';
COMMENT ON COLUMN sessionsql.near_session.payload IS 'What the application keeps.';
COMMENT ON COLUMN sessionsql.near_session.version IS 'Counts payload writes, from 1.';
COMMENT ON COLUMN sessionsql.near_session.subject IS 'Whose session this is; null for an anonymous one.';
COMMENT ON COLUMN sessionsql.near_session.expires_in IS 'Seconds left, by the server''s clock.';
COMMENT ON COLUMN sessionsql.near_session.is_current IS
  'False: the previous secret opened the session, which works only until its grace ends.';
COMMENT ON COLUMN sessionsql.near_session.in_recovery IS 'True: a standby answered, which may lag.';
