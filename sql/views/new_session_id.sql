-- This is the row type of insert_batch. By the hash, the caller matches ids to its sessions.
CREATE OR REPLACE VIEW sessionsql.new_session_id AS
SELECT
  s.id,
  s.secret_hash
FROM sessionsql.session AS s;

COMMENT ON VIEW sessionsql.new_session_id IS
  'A new session: its id, beside the hash that it was inserted with.';
COMMENT ON COLUMN sessionsql.new_session_id.id IS 'Row number; never a credential.';
COMMENT ON COLUMN sessionsql.new_session_id.secret_hash IS 'SHA-256 of the token''s secret, as given.';
