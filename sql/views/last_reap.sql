-- This is the row type of reap. It also shows the reaper's last call to sessionsql_monitor.
CREATE OR REPLACE VIEW sessionsql.last_reap AS
SELECT
  r.reaped,
  r.pages,
  r.lap_done
FROM sessionsql.reaper AS r;

COMMENT ON VIEW sessionsql.last_reap IS 'What one call of the reaper did.';
COMMENT ON COLUMN sessionsql.last_reap.reaped IS 'Expired rows deleted.';
COMMENT ON COLUMN sessionsql.last_reap.pages IS 'Pages of the table read.';
COMMENT ON COLUMN sessionsql.last_reap.lap_done IS 'Whether the call reached the end of the table.';
