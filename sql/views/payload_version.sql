-- This is the row type of update_payload_batch.
CREATE OR REPLACE VIEW sessionsql.payload_version AS
SELECT
  s.id,
  s.version
FROM sessionsql.session AS s;

COMMENT ON VIEW sessionsql.payload_version IS
  'A session whose payload was written: its id, and the version that it has now.';
COMMENT ON COLUMN sessionsql.payload_version.id IS 'Row number; never a credential.';
COMMENT ON COLUMN sessionsql.payload_version.version IS 'Counts payload writes, from 1.';
