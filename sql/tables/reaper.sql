-- One row holds the position of the reaper's clock hand and the results of its last call and lap. The lock of
-- that row admits one reaper at a time, also behind a connection pooler.
CREATE TABLE sessionsql.reaper (
  singleton boolean PRIMARY KEY DEFAULT true,
  next_page bigint NOT NULL DEFAULT 0,
  reaped bigint NOT NULL DEFAULT 0,
  pages bigint NOT NULL DEFAULT 0,
  lap_done boolean NOT NULL DEFAULT false,
  oldest_expired timestamptz,
  last_lap_oldest_expired timestamptz,
  last_lap_ended_at timestamptz
) WITH (
  -- Each call rewrites the row. Nearly all of the page stays free, so that each rewrite is HOT and pruned in
  -- place.
  fillfactor = 10,
  -- Vacuum can wait for 100 dead rows instead of 50, because pruning keeps the table at one page.
  autovacuum_vacuum_threshold = 100,
  autovacuum_vacuum_scale_factor = 0,
  vacuum_truncate = off
);

COMMENT ON TABLE sessionsql.reaper IS 'Position of the reaper''s clock hand; one row, never more.';
COMMENT ON COLUMN sessionsql.reaper.singleton IS 'True: the key of the only row.';
COMMENT ON COLUMN sessionsql.reaper.next_page IS 'Page of sessionsql.session where the next call begins.';
COMMENT ON COLUMN sessionsql.reaper.reaped IS 'Rows that the last call deleted.';
COMMENT ON COLUMN sessionsql.reaper.pages IS 'Pages that the last call read.';
COMMENT ON COLUMN sessionsql.reaper.lap_done IS 'Whether the last call reached the end of the table.';
COMMENT ON COLUMN sessionsql.reaper.oldest_expired IS
  'Earliest expires_at met in the lap under way; null when none was expired.';
COMMENT ON COLUMN sessionsql.reaper.last_lap_oldest_expired IS
  'Earliest expires_at met in the last whole lap; null when none was expired.';
COMMENT ON COLUMN sessionsql.reaper.last_lap_ended_at IS 'When the last whole lap ended.';

INSERT INTO sessionsql.reaper (singleton) VALUES (true);
