-- This is for cache_entry what sessionsql.reaper is for session: the position of the clock hand. Its lock
-- admits one reaper of the cache at a time.
CREATE TABLE sessionsql.cache_reaper (
  singleton boolean PRIMARY KEY DEFAULT true,
  next_page bigint NOT NULL DEFAULT 0,
  reaped bigint NOT NULL DEFAULT 0,
  evicted bigint NOT NULL DEFAULT 0,
  pages bigint NOT NULL DEFAULT 0,
  lap_done boolean NOT NULL DEFAULT false,
  oldest_expired timestamptz,
  last_lap_oldest_expired timestamptz,
  last_lap_ended_at timestamptz
) WITH (
  -- These have the values of sessionsql.reaper, for the reasons that stand there.
  fillfactor = 10,
  autovacuum_vacuum_threshold = 100,
  autovacuum_vacuum_scale_factor = 0,
  vacuum_truncate = off
);

COMMENT ON TABLE sessionsql.cache_reaper IS 'Position of the cache''s clock hand; one row, never more.';
COMMENT ON COLUMN sessionsql.cache_reaper.singleton IS 'True: the key of the only row.';
COMMENT ON COLUMN sessionsql.cache_reaper.next_page IS
  'Page of sessionsql.cache_entry where the next call begins.';
COMMENT ON COLUMN sessionsql.cache_reaper.reaped IS 'Expired rows that the last call deleted.';
COMMENT ON COLUMN sessionsql.cache_reaper.evicted IS 'Live rows that the last call deleted for a budget.';
COMMENT ON COLUMN sessionsql.cache_reaper.pages IS 'Pages that the last call read.';
COMMENT ON COLUMN sessionsql.cache_reaper.lap_done IS 'Whether the last call reached the end of the table.';
COMMENT ON COLUMN sessionsql.cache_reaper.oldest_expired IS
  'Earliest expires_at met in the lap under way; null when none was expired.';
COMMENT ON COLUMN sessionsql.cache_reaper.last_lap_oldest_expired IS
  'Earliest expires_at met in the last whole lap; null when none was expired.';
COMMENT ON COLUMN sessionsql.cache_reaper.last_lap_ended_at IS 'When the last whole lap ended.';

INSERT INTO sessionsql.cache_reaper (singleton) VALUES (true);
