-- This is the row type of cache_reap. It also shows the last call to sessionsql_monitor.
CREATE OR REPLACE VIEW sessionsql.last_cache_reap AS
SELECT
  r.reaped,
  r.evicted,
  r.pages,
  r.lap_done
FROM sessionsql.cache_reaper AS r;

COMMENT ON VIEW sessionsql.last_cache_reap IS 'What one call of the cache''s reaper did.';
COMMENT ON COLUMN sessionsql.last_cache_reap.reaped IS 'Expired rows deleted, ended tombstones included.';
COMMENT ON COLUMN sessionsql.last_cache_reap.evicted IS 'Live rows deleted, because their space is over budget.';
COMMENT ON COLUMN sessionsql.last_cache_reap.pages IS 'Pages of the table that the hand passed.';
COMMENT ON COLUMN sessionsql.last_cache_reap.lap_done IS 'Whether the call reached the end of the table.';
