-- Where the reaper's clock hand stands, and what its last call and last lap did. One row: its lock is also
-- what makes one reaper at a time, on every kind of connection pooler.
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
  -- Rewritten at every call: nearly all of the page stays free, so that each rewrite is HOT and pruned in
  -- place.
  fillfactor = 10,
  -- Fewer dead rows than the server's default of 50 would have to wait for; the page never needs a second
  -- one.
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
