-- The row type of what update_payload_batch returns.
CREATE OR REPLACE VIEW sessionsql.payload_version AS
SELECT
  s.id,
  s.version
FROM sessionsql.session AS s;

COMMENT ON VIEW sessionsql.payload_version IS
  'A session whose payload was written: its id, and the version that it has now.';
COMMENT ON COLUMN sessionsql.payload_version.id IS 'Row number; never a credential.';
COMMENT ON COLUMN sessionsql.payload_version.version IS 'Counts payload writes, from 1.';
